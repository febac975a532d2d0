"""The output and input types of the checkpoint IO manager."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from resources.checkpoints import CheckpointStore, Journal
from touchline.library.tables import DetectJob, StageCheckpoint
from touchline.values import SampledFrame


@dataclass(frozen=True)
class StageOutput:
    """Output of a stage: a finished journal to commit, or an existing checkpoint to reuse."""

    job: DetectJob
    stage: str
    fingerprint: str
    journal: Journal | None
    reused: StageCheckpoint | None
    stats: Mapping[str, Any] = field(default_factory=dict)
    config_snapshot: Mapping[str, Any] = field(default_factory=dict)
    config_overrides: Mapping[str, Any] = field(default_factory=dict)
    input_checkpoint_ids: Sequence[UUID] = ()
    frames: Sequence[SampledFrame] | None = None
    filtered: Sequence[int] = ()
    wall_s: float = 0.0


@dataclass(frozen=True)
class StageInput:
    """An upstream checkpoint, read lazily. `why` is the reason why it was selected, in words."""

    row: StageCheckpoint
    store: CheckpointStore
    deserialize: Callable[[dict[str, Any]], Any]
    why: str = ""

    def documents(self) -> Iterator[Any]:
        """The documents, in order. Raises CheckpointError, with the key, if the blob is missing or damaged."""
        return map(self.deserialize, self.store.read(self.row))
