"""Escalation of unresolved text to a vision language model: which candidates are sent, within which budget.

Belongs here: the provider's interface and the routing that `escalate_vlm` and `escalate_cloud` share. Providers
(clients of an endpoint) are resources, outside of `touchline/`.

Candidates of one source with the same folded text are one query. It is sent with the clearest crop of the first chunk
in which they qualify, and its answer is used for all of them in the whole source.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any, Final, Protocol, runtime_checkable

from pydantic import Field

from touchline.brands import BrandBook, brand_id, matcher_of
from touchline.config import StageConfig
from touchline.errors import TouchlineError
from touchline.exposure.candidates import clarity, crop_quality, text_key
from touchline.geometry import line_height
from touchline.values import BrandDetection, BrandSourceName, Chunk, Image, MatchDocument, UnresolvedCandidate
from touchline.vision.crops import cut

NOT_CONFIGURED: Final = "not configured"
_MARGIN: Final = 0.6
"""Margin around the text in a crop for a model, because logos are next to names [share of the text's height]."""


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """A model's answer for one crop: the brand's name (None: no brand), confidence 0..1, and cost [US dollars]."""

    brand: str | None
    confidence: float
    cost_usd: float = 0.0


@runtime_checkable
class VisionLanguageProvider(Protocol):
    """A model that names the brand in a picture."""

    @property
    def identity(self) -> str:
        """Endpoint kind, model and version. It is part of the stage's fingerprint and must not contain a secret."""
        ...

    def identify(self, crops: Sequence[Image], hints: Sequence[str]) -> list[ProviderAnswer]:
        """One answer per crop, in order. `crops` are H x W x 3, BGR, uint8; `hints` are the OCR texts of the crops.

        Raises ServiceError if the endpoint cannot be reached, after its own retries.
        """
        ...


class EscalationConfig(StageConfig):
    """Settings that both escalation stages share."""

    max_calls: int = Field(default=40, ge=0, le=10_000, description="Crops sent for one source, at most [crops]")
    batch: int = Field(default=8, ge=1, le=64, description="Crops sent to the provider in one request [crops]")
    min_seconds: float = Field(
        default=1.0, ge=0, description="Text seen for less time in a chunk is not sent, except in stills [s]"
    )
    min_confidence: float = Field(
        default=0.5, ge=0, le=1, description="Text that OCR read with lower confidence is not sent [0-1]"
    )
    min_height_px: float = Field(
        default=10.0, ge=0, description="Text whose clearest line is lower than this is not sent [px]"
    )
    min_answer: float = Field(default=0.6, ge=0, le=1, description="Answers of lower confidence are dropped [0-1]")
    max_cost_usd: float | None = Field(
        default=None, ge=0, description="Nothing more is sent once this much is spent on the source [US dollars]"
    )


@dataclass
class _Counters:
    candidates: int = 0
    calls: int = 0
    resolved: int = 0
    unresolved: int = 0
    skipped: int = 0
    cost_usd: float = 0.0
    compute_s: float = 0.0


class Escalation:
    """A stage worker that passes detections through and turns candidates that the provider identifies into detections.

    `upstream` is the stage whose documents are read, `source` the value of `BrandDetection.source` of new detections.
    The provider's names are matched against `brands`, so that known brands keep their ids; the id of another brand is
    made from its name. `state` is what `state()` of an earlier worker returned.
    """

    def __init__(
        self,
        config: EscalationConfig,
        provider: VisionLanguageProvider | None,
        *,
        upstream: str,
        source: BrandSourceName,
        brands: BrandBook | None = None,
        state: dict[str, Any] | None = None,
    ) -> None:
        self._config = config
        self._provider = provider
        self._upstream = upstream
        self._source: BrandSourceName = source
        self._matcher = matcher_of(brands) if brands is not None else None
        state = state or {}
        self._answers: dict[str, ProviderAnswer] = {k: ProviderAnswer(**v) for k, v in state.get("answers", ())}
        self._counters = _Counters(**state.get("counters", {}))

    def run_chunk(self, chunk: Chunk) -> Iterable[MatchDocument]:
        """The upstream documents of the chunk, rising by sequence. Detections replace identified candidates.

        Raises TouchlineError if the provider gives too few or too many answers, and what `identify` raises.
        """
        began = time.perf_counter()
        documents: list[MatchDocument] = list(chunk.of(self._upstream, BrandDetection))
        candidates = chunk.of(self._upstream, UnresolvedCandidate)
        if self._provider is not None:
            self._ask(chunk, candidates, self._provider)
        for candidate in candidates:
            documents += self._answered(candidate)
        self._counters.candidates += len(candidates)
        self._counters.compute_s += time.perf_counter() - began
        return sorted(documents, key=lambda d: d.sequence if isinstance(d, BrandDetection) else d.sequences[0])

    def _ask(self, chunk: Chunk, candidates: Sequence[UnresolvedCandidate], provider: VisionLanguageProvider) -> None:
        """Sends the candidates of this chunk that qualify to the provider, by falling seconds times quality."""
        groups: dict[str, list[UnresolvedCandidate]] = defaultdict(list)
        for candidate in candidates:
            groups[text_key(candidate.text)].append(candidate)
        step = _step(chunk)
        ranked: list[tuple[float, str, UnresolvedCandidate]] = []
        for key, group in groups.items():
            best = max(group, key=crop_quality)
            seconds = sum(c.timestamps[-1] - c.timestamps[0] + step for c in group)
            if key not in self._answers and self._qualifies(best, seconds, still=len(chunk.frames) == 1):
                ranked.append((-max(seconds, 1e-3) * crop_quality(best), key, best))
        ranked.sort(key=lambda query: query[:2])
        for at in range(0, len(ranked), self._config.batch):
            batch = ranked[at : at + min(self._config.batch, self._calls_left())]
            if not batch:
                return
            crops = [cut(chunk.load(best.best_sequence), best.best_quad, margin=_MARGIN)[0] for _, _, best in batch]
            answers = provider.identify(crops, [best.text for _, _, best in batch])
            if len(answers) != len(batch):
                raise TouchlineError(
                    f"Expected one answer per crop from the provider {provider.identity}, got {len(answers)} answers "
                    f"for {len(batch)} crops. Run the stage without a provider until that is repaired."
                )
            self._counters.calls += len(batch)
            for (_, key, _), answer in zip(batch, answers, strict=True):
                self._counters.cost_usd += answer.cost_usd
                self._answers[key] = answer

    def _qualifies(self, best: UnresolvedCandidate, seconds: float, *, still: bool) -> bool:
        return (
            best.confidence >= self._config.min_confidence
            and line_height(best.best_quad) >= self._config.min_height_px
            and (still or seconds >= self._config.min_seconds)
        )

    def _calls_left(self) -> int:
        limit = self._config.max_cost_usd
        if limit is not None and self._counters.cost_usd >= limit:
            return 0
        return max(0, self._config.max_calls - self._counters.calls)

    def _answered(self, candidate: UnresolvedCandidate) -> list[MatchDocument]:
        answer = self._answers.get(text_key(candidate.text))
        if answer is None:
            self._counters.skipped += 1
            return [candidate]
        if answer.brand is None or not answer.brand.strip() or answer.confidence < self._config.min_answer:
            self._counters.unresolved += 1
            verdict = "no brand" if not answer.brand else f"{answer.brand!r}, too unsure"
            return [replace(candidate, reason=f"{candidate.reason}; {self._source}: {verdict}")]
        self._counters.resolved += 1
        brand, name = self._known(answer.brand.strip())
        return [
            BrandDetection(
                sequence=sequence,
                timestamp=timestamp,
                shot=candidate.shot,
                track=candidate.track,
                brand_id=brand,
                brand_name=name,
                source=self._source,
                text=candidate.text,
                confidence=answer.confidence,
                quad=quad,
                zone=candidate.zone,
                # A candidate has no share of occlusion. Its text was read, so little of it is covered.
                unoccluded=1.0,
                clarity=clarity(candidate.confidence, quad),
            )
            for sequence, timestamp, quad in zip(
                candidate.sequences, candidate.timestamps, candidate.quads, strict=True
            )
        ]

    def _known(self, name: str) -> tuple[str, str]:
        matches = self._matcher.match(name) if self._matcher else []
        return (matches[0].entry.id, matches[0].entry.name) if matches else (brand_id(name), name)

    def state(self) -> dict[str, Any]:
        """The answers so far (at most `max_calls`) and the counters."""
        return {"answers": [[k, asdict(a)] for k, a in self._answers.items()], "counters": asdict(self._counters)}

    def stats(self) -> dict[str, Any]:
        """Counters over all chunks. `outcome` says whether crops were sent.

        Of the `candidates`, `resolved` were identified, `unresolved` were sent without result, and `skipped` were not
        sent. `calls` is the number of crops sent, for `cost_usd` in all.
        """
        counters = asdict(self._counters)
        counters["cost_usd"] = round(self._counters.cost_usd, 6)
        counters["compute_s"] = round(self._counters.compute_s, 3)
        if self._provider is None:
            return {"outcome": NOT_CONFIGURED, **counters}
        outcome = "limit reached" if self._calls_left() == 0 else "asked" if self._counters.calls else "nothing to ask"
        return {"outcome": outcome, "provider": self._provider.identity, **counters}


def _step(chunk: Chunk) -> float:
    """Median time between successive samples of the chunk [s]; 0 for a single frame."""
    return median([b.timestamp - a.timestamp for a, b in pairwise(chunk.frames)] or [0.0])
