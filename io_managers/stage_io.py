"""What passes between assets: a finished journal on the way out, a lazy reader on the way in.

Belongs here: the two value types of the checkpoint IO manager.
"""

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
    """The work of one stage, journalled but not yet a checkpoint; or an old checkpoint that stands for it."""

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
    """A checkpoint upstream, read when its documents are asked for. `why` says in words why it is this one."""

    row: StageCheckpoint
    store: CheckpointStore
    deserialize: Callable[[dict[str, Any]], Any]
    why: str = ""

    def documents(self) -> Iterator[Any]:
        """The documents, in order. Raises CheckpointError, naming the key, if the blob is missing or damaged."""
        return map(self.deserialize, self.store.read(self.row))
