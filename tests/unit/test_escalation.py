"""Routing of unresolved text to a provider: what is asked, how often, and what becomes of the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import bson
import numpy as np
import pytest

from touchline.brands import BrandBook, BrandEntry, brand_id
from touchline.errors import TouchlineError
from touchline.escalation import ProviderAnswer, VisionLanguageProvider
from touchline.geometry import box_quad
from touchline.stages.escalate_cloud import EscalateCloud, EscalateCloudConfig
from touchline.stages.escalate_vlm import EscalateVlm, EscalateVlmConfig, deserialize, serialize
from touchline.values import BrandDetection, Chunk, Image, MatchDocument, SampledFrame, UnresolvedCandidate

FRAMES = 20


class Answers:
    """A model with a fixed answer for each hint; a text that it does not know is no brand."""

    identity = "table of answers, version 1"

    def __init__(self, names: Mapping[str, str], *, confidence: float = 0.9, cost: float = 0.01) -> None:
        self.names, self.confidence, self.cost = names, confidence, cost
        self.asked: list[str] = []
        self.batches: list[int] = []
        self.shapes: list[tuple[int, ...]] = []

    def identify(self, crops: Sequence[Image], hints: Sequence[str]) -> list[ProviderAnswer]:
        self.asked += hints
        self.batches.append(len(crops))
        self.shapes += [crop.shape for crop in crops]
        return [ProviderAnswer(self.names.get(hint), self.confidence, self.cost) for hint in hints]


def candidate(
    text: str, start: int = 0, count: int = 6, *, confidence: float = 0.9, height: float = 24, track: int = 1
) -> UnresolvedCandidate:
    quad = box_quad((100, 50, 220, 50 + height))
    sequences = tuple(range(start, start + count))
    return UnresolvedCandidate(
        track=track,
        shot=0,
        text=text,
        confidence=confidence,
        zone="board",
        sequences=sequences,
        timestamps=tuple(s / 2 for s in sequences),
        quads=(quad,) * count,
        best_sequence=start,
        best_quad=quad,
        reason="no known brand has this spelling",
    )


def detection(sequence: int) -> BrandDetection:
    quad = box_quad((0, 0, 50, 20))
    return BrandDetection(sequence, sequence / 2, 0, 3, "id", "Known", "ocr", "KNOWN", 0.9, quad, "board", 1.0, 0.8)


def chunk(*documents: MatchDocument, stage: str = "match_brands", frames: int = FRAMES, number: int = 0) -> Chunk:
    return Chunk(
        chunk_id=number,
        frames=tuple(SampledFrame(i, 0, i / 2, i, (1, 2), 320, 180, "", "", 0) for i in range(frames)),
        load=lambda sequence, lines=None: np.full((180, 320, 3), sequence, np.uint8),
        documents={stage: documents},
    )


def vlm(provider: VisionLanguageProvider | None, state: dict[str, Any] | None = None, **config: Any) -> EscalateVlm:
    return EscalateVlm(EscalateVlmConfig(**config), provider, state)


def test_without_a_provider_everything_passes_through_and_the_outcome_says_so() -> None:
    documents: list[MatchDocument] = [detection(0), candidate("Orbit Air"), candidate("banner", 3)]
    worker = vlm(None)
    assert list(worker.run_chunk(chunk(*documents))) == documents
    stats = worker.stats()
    assert stats["outcome"] == "not configured"
    assert (stats["candidates"], stats["skipped"], stats["calls"], stats["cost_usd"]) == (2, 2, 0, 0.0)


def test_a_named_candidate_becomes_a_detection_in_each_of_its_frames() -> None:
    model = Answers({"0rbit Aír": "Orbit Air"})
    worker = vlm(model)
    documents = list(worker.run_chunk(chunk(detection(2), candidate("0rbit Aír", 1, 4), candidate("banner", 0))))
    named = [d for d in documents if isinstance(d, BrandDetection) and d.source == "local_vlm"]
    assert [d.sequence for d in named] == [1, 2, 3, 4]
    assert [d.timestamp for d in named] == [0.5, 1.0, 1.5, 2.0]
    assert {(d.brand_name, d.brand_id, d.confidence) for d in named} == {("Orbit Air", brand_id("Orbit Air"), 0.9)}
    (left,) = [d for d in documents if isinstance(d, UnresolvedCandidate)]
    assert left.text == "banner"
    assert left.reason.endswith("local_vlm: no brand")
    firsts = [d.sequence if isinstance(d, BrandDetection) else d.sequences[0] for d in documents]
    assert firsts == sorted(firsts)
    stats = worker.stats()
    assert (stats["candidates"], stats["calls"], stats["resolved"], stats["unresolved"]) == (2, 2, 1, 1)
    assert stats["cost_usd"] == pytest.approx(0.02)
    assert stats["outcome"] == "asked"
    assert all(0 < shape[0] < 180 and 0 < shape[1] < 320 and shape[2] == 3 for shape in model.shapes), (
        "crops, not frames"
    )


def test_a_known_brand_keeps_its_id_whatever_spelling_the_model_gives() -> None:
    book = BrandBook.from_entries([BrandEntry(id=brand_id("Qatar Airways"), name="Qatar Airways", aliases=("QATAR",))])
    worker = EscalateVlm(EscalateVlmConfig(), Answers({"QTR": "QATAR AIRWAYS"}), brands=book)
    (found, *_) = worker.run_chunk(chunk(candidate("QTR")))
    assert isinstance(found, BrandDetection)
    assert (found.brand_id, found.brand_name) == (brand_id("Qatar Airways"), "Qatar Airways")


def test_the_same_text_is_asked_once_with_its_best_crop_across_chunks_and_restarts() -> None:
    model = Answers({"ORBIT": "Orbit Air"})
    first = vlm(model)
    small, large = candidate("Orbit", 0, height=12, track=1), candidate("ORBIT", 8, height=30, track=2)
    documents = list(first.run_chunk(chunk(small, large)))
    assert model.asked == ["ORBIT"]
    assert len(documents) == 12
    state = bson.decode(bson.encode(first.state()))
    second = vlm(model, state)
    assert all(isinstance(d, BrandDetection) for d in second.run_chunk(chunk(candidate("orbit."), number=1)))
    assert model.asked == ["ORBIT"]
    assert second.stats()["resolved"] == 3
    assert second.stats()["calls"] == 1


def test_questions_are_limited_and_the_most_important_come_first() -> None:
    model = Answers({})
    worker = vlm(model, max_calls=3, batch=2)
    some = [candidate(f"text number {c}", 0, count) for c, count in zip("abcde", (3, 9, 5, 12, 4), strict=True)]
    assert len(list(worker.run_chunk(chunk(*some)))) == 5
    assert model.asked == ["text number d", "text number b", "text number c"]
    assert model.batches == [2, 1]
    stats = worker.stats()
    assert (stats["calls"], stats["skipped"], stats["unresolved"]) == (3, 2, 3)
    assert stats["outcome"] == "limit reached"


def test_what_is_brief_faint_or_tiny_is_not_asked_about_but_a_still_is() -> None:
    model = Answers({})
    brief, faint, tiny = candidate("brief", count=1), candidate("faint", confidence=0.3), candidate("tiny", height=6)
    assert len(list(vlm(model).run_chunk(chunk(brief, faint, tiny)))) == 3
    assert model.asked == []
    list(vlm(model).run_chunk(chunk(brief, frames=1)))
    assert model.asked == ["brief"]


def test_an_unsure_answer_is_not_taken() -> None:
    worker = vlm(Answers({"ORBIT": "Orbit Air"}, confidence=0.4))
    (left,) = worker.run_chunk(chunk(candidate("ORBIT")))
    assert isinstance(left, UnresolvedCandidate)
    assert "too unsure" in left.reason
    assert worker.stats()["unresolved"] == 1


def test_the_cloud_stage_reads_the_local_one_and_stops_at_its_budget() -> None:
    model = Answers({"ORBIT": "Orbit Air"}, cost=0.3)
    worker = EscalateCloud(EscalateCloudConfig(batch=1, max_cost_usd=0.5), model)
    some = [candidate("ORBIT", 0, 10), candidate("banner one", 0, 8), candidate("other text", 0, 6)]
    documents = list(worker.run_chunk(chunk(*some, stage="escalate_vlm")))
    assert model.asked == ["ORBIT", "banner one"]
    assert {d.source for d in documents if isinstance(d, BrandDetection)} == {"cloud_llm"}
    assert worker.stats()["cost_usd"] == pytest.approx(0.6)
    assert worker.stats()["skipped"] == 1


def test_a_provider_that_swallows_a_question_is_an_error() -> None:
    class Mute(Answers):
        def identify(self, crops: Sequence[Image], hints: Sequence[str]) -> list[ProviderAnswer]:
            return []

    with pytest.raises(TouchlineError, match="got 0 answers for 1 crops"):
        list(vlm(Mute({})).run_chunk(chunk(candidate("ORBIT"))))


def test_documents_survive_bson() -> None:
    worker = vlm(Answers({"ORBIT": "Orbit Air"}))
    documents = list(worker.run_chunk(chunk(candidate("ORBIT"), candidate("banner"), detection(1))))
    assert [deserialize(bson.decode(bson.encode(serialize(d)))) for d in documents] == documents


def test_the_test_double_is_a_provider() -> None:
    assert isinstance(Answers({}), VisionLanguageProvider)
