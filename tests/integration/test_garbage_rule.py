"""The rule of what is garbage: keys one by one, and random libraries against a plain model of what is needed."""

from __future__ import annotations

import io
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from detection_assets.upkeep import collect_garbage
from resources.checkpoints import CheckpointStore
from resources.database import Database
from resources.local_services import Endpoints
from resources.object_store import ObjectStore
from resources.storage import Connection
from touchline.bson_stream import StreamHeader, write_stream
from touchline.library import repository
from touchline.library.retention import GcFacts, Kind, Retention, part_of, retention_of
from touchline.library.tables import DetectJobStatus, StageCheckpoint
from touchline.nodes import NODE_INDEX

JOB = uuid.UUID("00000000-0000-4000-8000-00000000000a")
STAGES = ("extract_frames", "run_ocr")
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=1)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (f"checkpoints/{JOB}/frames/000007.jpg", Kind.FRAME),
        (f"checkpoints/{JOB}/frames/1000000.jpg", Kind.FRAME),
        (f"checkpoints/{JOB}/stages/run_ocr.bson", Kind.OUTPUT),
        (f"checkpoints/{JOB}/stages/run_ocr.{JOB}.bson", Kind.OUTPUT),
        (f"checkpoints/{JOB}/stages/run_ocr.partial/12.bson", Kind.CHUNK),
        (f"reports/{JOB}/report.json", Kind.REPORT),
        (f"reports/{JOB}/crops/3.jpg", Kind.REPORT),
        (f"checkpoints/{JOB}/frames/000007.jpg.tmp", None),
        (f"checkpoints/{JOB}/stages/unheard_of.bson", None),
        (f"checkpoints/{JOB}/stages/run_ocr.partial/x.bson", None),
        (f"checkpoints/{str(JOB).upper()}/stages/run_ocr.bson", None),
        (f"checkpoints/{JOB}", None),
        (f"uploads/checkpoints/{JOB}/frames/000007.jpg", None),
        ("uploads/match.mp4", None),
        ("reports/report.json", None),
        ("", None),
    ],
)
def test_a_key_tells_what_its_object_is_or_nothing(key: str, kind: Kind | None) -> None:
    part = part_of(key)
    assert (part and part.kind) == kind
    assert part is None or part.job == JOB


@pytest.mark.parametrize("status", [None, *DetectJobStatus])
def test_whatever_is_named_at_work_young_or_of_no_known_form_stays(status: DetectJobStatus | None) -> None:
    keys = [
        f"checkpoints/{JOB}/{name}" for name in ("frames/1.jpg", "stages/run_ocr.bson", "stages/run_ocr.partial/0.bson")
    ]
    for key in (*keys, f"reports/{JOB}/report.json"):
        own = (f"reports/{JOB}/",)
        assert retention_of(key, OLD, GcFacts(status, named={*keys}, reports=own), NOW) is Retention.NEEDED
        assert retention_of(key, OLD, GcFacts(status, busy=True), NOW) is Retention.BUSY
        assert retention_of(key, NOW, GcFacts(status), NOW) is Retention.YOUNG
        # Checkpoints have exact names; whatever is in the folder of a report is of the report.
        of_a_report = Retention.ORPHAN if status is None else Retention.REPORT
        expected = of_a_report if key.startswith("reports/") else Retention.FOREIGN
        assert retention_of(key + ".x", OLD, GcFacts(status), NOW) is expected
    assert retention_of("uploads/match.mp4", OLD, GcFacts(status), NOW) is Retention.FOREIGN


@dataclass
class Model:
    """A library as plain values: every key there is, and those that are needed."""

    stored: set[str] = field(default_factory=set)
    needed: set[str] = field(default_factory=set)


@pytest.fixture
def library(empty_database: Database, services: Endpoints) -> Connection:
    empty_database.migrate()
    objects = ObjectStore(
        services.s3_endpoint,
        f"rule-{uuid.uuid4()}",
        services.s3_region,
        services.s3_access_key_id,
        services.s3_secret_access_key,
    )
    objects.ensure_bucket()
    return Connection(empty_database, objects, CheckpointStore(objects, empty_database))


def put(library: Connection, model: Model, key: str, content: bytes = b"x") -> str:
    library.objects.put(key, content)
    model.stored.add(key)
    return key


def grown(library: Connection, data: st.DataObject) -> Model:
    """One source with a few jobs, each with anything that an attempt may leave behind, and perhaps a job of nobody."""
    model = Model()
    statuses = data.draw(st.lists(st.sampled_from(list(DetectJobStatus)), min_size=1, max_size=3), "statuses")
    draw_fingerprint = st.sampled_from(["f", "g", ""])
    with library.database.session() as session:
        source = repository.register_source(session, f"/library/{uuid.uuid4()}.mp4")
        jobs = [repository.create_job(session, source) for _ in statuses]
        for job, status in zip(jobs, statuses, strict=True):
            repository.set_job_status(session, job.id, status)
    ids = [job.id for job in jobs]
    frames = [put(library, model, f"checkpoints/{job}/frames/{n:06d}.jpg") for job in ids for n in range(2)]
    chunks: list[tuple[str, str, str, DetectJobStatus]] = []
    finished: set[tuple[str, str]] = set()
    for job, status in zip(jobs, statuses, strict=True):
        for stage in STAGES:
            if data.draw(st.booleans(), "chunk"):
                fingerprint = data.draw(draw_fingerprint)
                with io.BytesIO() as buffer:
                    write_stream(buffer, StreamHeader(stage, "", "", fingerprint), [])
                    content = buffer.getvalue() if fingerprint else b"not readable"
                key = put(library, model, f"checkpoints/{job.id}/stages/{stage}.partial/0.bson", content)
                chunks.append((key, stage, fingerprint, status))
            if data.draw(st.booleans(), "output"):
                key = put(library, model, f"checkpoints/{job.id}/stages/{stage}.bson")
                if data.draw(st.booleans(), "row"):
                    fingerprint = data.draw(draw_fingerprint)
                    named = data.draw(st.sets(st.sampled_from(frames)), "manifest")
                    with library.database.session() as session:
                        row = StageCheckpoint(
                            job_id=job.id,
                            stage=stage,
                            stage_index=NODE_INDEX[stage],
                            source_asset_id=source.id,
                            stage_output_key=key,
                            fingerprint=fingerprint,
                            frames_manifest=dict(enumerate(sorted(named))),
                        )
                        repository.add_checkpoint(session, row)
                    finished.add((stage, fingerprint))
                    model.needed |= {key, *named}
        if data.draw(st.booleans(), "report"):
            key = put(library, model, f"reports/{job.id}/report.json")
            if data.draw(st.booleans(), "reported"):
                with library.database.session() as session:
                    repository.get_job(session, job.id).report_prefix = f"reports/{job.id}/"
                model.needed.add(key)
    for key, stage, fingerprint, status in chunks:
        resumes = status in (DetectJobStatus.FAILED, DetectJobStatus.PAUSED)
        if resumes and (not fingerprint or (stage, fingerprint) not in finished):
            model.needed |= {key, *(frames if stage == "extract_frames" else ())}
    if {DetectJobStatus.PENDING, DetectJobStatus.RUNNING} & set(statuses):
        model.needed |= model.stored
    if data.draw(st.booleans(), "nobody"):
        put(library, model, f"checkpoints/{uuid.uuid4()}/frames/000000.jpg")
    return model


@given(st.data())
@settings(
    max_examples=12,
    deadline=None,
    # Without shrinking: each example costs a good part of a second.
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_of_any_library_exactly_what_is_not_needed_goes(library: Connection, data: st.DataObject) -> None:
    for folder in ("checkpoints", "reports"):
        library.objects.delete_all([item.key for item in library.objects.stored(f"{folder}/")])
    model = grown(library, data)
    with dg.DagsterInstance.ephemeral() as instance:
        dry = collect_garbage.collect(instance, library, older_than=timedelta(0), dry_run=True)
        told = collect_garbage.collect(instance, library, older_than=timedelta(0))
    left = {item.key for folder in ("checkpoints", "reports") for item in library.objects.stored(f"{folder}/")}
    assert left == model.needed
    assert told == dry
    assert told.objects.total() == len(model.stored - model.needed)
