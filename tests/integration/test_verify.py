"""`touchline doctor --verify`: all damage is found by name, loading refuses the same, and the advice repairs it."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import re
import shlex
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from detection_assets.execution.run_stage import frame_loader, frames_of
from detection_assets.local.report_files import fetch_report, latest_reported_job
from detection_assets.local.runner import Runner
from resources.checkpoints import CheckpointStore
from touchline.bson_stream import StreamHeader, write_stream
from touchline.errors import BadInputError, CheckpointError
from touchline.library import repository
from touchline.library.tables import DetectJob, SourceAsset, StageCheckpoint
from touchline_cli.app import app

pytestmark = pytest.mark.slow

STAGE = "run_ocr"
Damage = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def done(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> SourceAsset:
    """A source with one finished run, on a still with one brand."""
    picture = np.full((360, 960, 3), 40, np.uint8)
    cv2.putText(picture, "HEINEKEN", (60, 200), cv2.FONT_HERSHEY_SIMPLEX, 3, (255, 255, 255), 8, cv2.LINE_AA)
    path = tmp_path_factory.mktemp("verify") / "board.png"
    cv2.imwrite(str(path), picture)
    source = runner.register(path)
    outcome = runner.run(source)
    assert outcome.succeeded, outcome.error
    return source


@pytest.fixture
def source(runner: Runner, done: SourceAsset) -> Iterator[SourceAsset]:
    """That source; whatever a test does to its rows and objects is undone."""
    objects, database = runner.connection.objects, runner.connection.database
    rows = {row.stage: row for row in rows_of(runner, done)}
    kept = [item.key for row in rows.values() for item in objects.stored(f"checkpoints/{row.job_id}/")]
    kept += [item.key for item in objects.stored(f"reports/{rows[STAGE].job_id}/")]
    before = {key: objects.get(key) for key in dict.fromkeys(kept)}
    values = {row.id: {c.key: getattr(row, c.key) for c in StageCheckpoint.__table__.columns} for row in rows.values()}
    with database.session() as session:
        files = session.scalars(sa.select(DetectJob.report_files).where(DetectJob.id == rows[STAGE].job_id)).one()
    yield done
    with database.session() as session:
        session.execute(sa.update(DetectJob).where(DetectJob.id == rows[STAGE].job_id).values(report_files=files))
    for key, content in before.items():
        objects.put(key, content)
    with database.session() as session:
        later = sa.delete(StageCheckpoint).where(StageCheckpoint.source_asset_id == done.id)
        session.execute(later.where(StageCheckpoint.id.not_in(values)))
        first = rows[STAGE].job_id
        session.execute(sa.delete(DetectJob).where(DetectJob.source_asset_id == done.id, DetectJob.id != first))
        for identity, value in values.items():
            session.execute(sa.update(StageCheckpoint).where(StageCheckpoint.id == identity).values(value))


def rows_of(runner: Runner, source: SourceAsset) -> list[StageCheckpoint]:
    with runner.connection.database.session() as session:
        return list(repository.list_checkpoints(session, source_asset_id=source.id))


def row_of(runner: Runner, source: SourceAsset, stage: str = STAGE) -> StageCheckpoint:
    return next(row for row in rows_of(runner, source) if row.stage == stage)


def changed(runner: Runner, row: StageCheckpoint, **values: Any) -> None:
    with runner.connection.database.session() as session:
        session.execute(sa.update(StageCheckpoint).where(StageCheckpoint.id == row.id).values(values))


def verified(source: SourceAsset, *options: str) -> dict[str, Any]:
    """What the command tells of a source; its exit code agrees with it."""
    done = CliRunner().invoke(app, ["doctor", source.partition_key, "--verify", "--json", *options])
    told: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == (0 if told["ok"] else 1)
    return told


def test_a_whole_source_is_well_and_everything_of_it_was_read(runner: Runner, source: SourceAsset) -> None:
    rows = rows_of(runner, source)
    told = verified(source, "--frames")
    assert (told["ok"], told["faults"], told["sources"]) == (True, [], 1)
    assert (told["checkpoints"], told["frames"], told["reports"]) == (8, 1, 1)
    assert told["documents"] == sum(row.item_count for row in rows) > 0
    assert told["bytes"] == sum(row.stage_output_size for row in rows)


def flipped(content: bytes) -> bytes:
    return content[:-7] + bytes([content[-7] ^ 1]) + content[-6:]


def newer(content: bytes) -> bytes:
    found = content.replace(b"\x10version\0\x01\0\0\0", b"\x10version\0\x02\0\0\0", 1)
    assert found != content
    return found


def of_another_stage(_: bytes) -> bytes:
    with io.BytesIO() as file:
        write_stream(file, StreamHeader("match_brands", "job", "source", "f"), [{"n": 1}])
        return file.getvalue()


DAMAGES: dict[str, tuple[Damage | None, str, str]] = {
    "missing": (None, "no such object", ""),
    "flipped": (flipped, r"expected SHA-256 \w{64}, got \w{64}", "does not match its own checksum|is damaged"),
    "truncated": (lambda content: content[:-40], r"expected \d+ bytes, got \d+", r"truncated in document \d+ of \d+"),
    "of another stage": (
        of_another_stage,
        r"expected \d+ bytes, got \d+",
        "expected the output of run_ocr, got that of match_brands",
    ),
    "newer": (newer, r"expected SHA-256 \w{64}, got \w{64}", "expected format version 1, got 2"),
}


@pytest.mark.parametrize("vouched", [False, True], ids=["against its row", "with a row that vouches for it"])
@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_output_is_named_by_verify_and_refused_at_loading(
    runner: Runner, source: SourceAsset, name: str, vouched: bool
) -> None:
    row, objects = row_of(runner, source), runner.connection.objects
    damage, compared, what = DAMAGES[name]
    if damage is None:
        objects.delete(row.stage_output_key)
    else:
        content = damage(objects.get(row.stage_output_key))
        objects.put(row.stage_output_key, content)
        if vouched:
            digest = hashlib.sha256(content).hexdigest()
            changed(runner, row, stage_output_sha256=digest, stage_output_size=len(content))
    told = verified(source)
    [fault] = told["faults"]
    assert (fault["kind"], fault["stage"], fault["checkpoint_id"]) == ("output", STAGE, str(row.id))
    assert fault["key"] == row.stage_output_key and row.stage_output_key in fault["message"]
    assert fault["remedy"] == f"touchline replay {source.partition_key} --from {STAGE}"
    with pytest.raises(CheckpointError) as refused:
        list(runner.connection.checkpoints.read(row_of(runner, source)))
    assert str(refused.value) == fault["message"]
    for expected in (what,) if vouched and damage else (compared, what):
        assert refused.match(expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"item_count": 77}, r"says documents 77, its output \d+"),
        ({"fingerprint": "another"}, "says fingerprint another, its output"),
        ({"stage_output_key": ""}, "names no output"),
        ({"input_checkpoint_ids": [uuid.UUID(int=7)]}, f"that do not exist: {uuid.UUID(int=7)}"),
    ],
    ids=["count", "fingerprint", "no output", "inputs"],
)
def test_a_row_that_says_what_is_not_so_is_named(
    runner: Runner, source: SourceAsset, values: dict[str, Any], message: str
) -> None:
    changed(runner, row_of(runner, source), **values)
    [fault] = verified(source)["faults"]
    row = row_of(runner, source)
    assert fault["checkpoint_id"] == str(row.id)
    assert re.search(message, fault["message"])
    if "input_checkpoint_ids" not in values:
        with pytest.raises(CheckpointError, match=message):
            runner.connection.checkpoints.read(row)


def test_frames_that_are_missing_or_of_another_size_are_named_and_damaged_ones_on_request(
    runner: Runner, source: SourceAsset
) -> None:
    row, objects = row_of(runner, source, "extract_frames"), runner.connection.objects
    [key] = row.frames_manifest.values()
    jpeg = objects.get(key)
    objects.put(key, flipped(jpeg))
    assert verified(source)["ok"]
    [fault] = verified(source, "--frames")["faults"]
    assert "1 of 1 frames are damaged" in fault["message"] and key in fault["message"]
    # Without the frames that the run before keeps in memory.
    fresh = CheckpointStore(objects, runner.connection.database)
    connection = dataclasses.replace(runner.connection, checkpoints=fresh)
    with pytest.raises(CheckpointError, match=f"{key}: expected SHA-256 .* the frame is damaged"):
        frame_loader(connection, lambda: frames_of(connection, row))(0)
    objects.put(key, jpeg + b"x")
    [fault] = verified(source)["faults"]
    assert f"expected {len(jpeg)} bytes, got {len(jpeg) + 1}" in fault["message"]
    objects.delete(key)
    [fault] = verified(source)["faults"]
    assert fault["message"] == f"1 of 1 frames are missing: {key}"
    assert (fault["kind"], fault["remedy"].rpartition(" ")[2]) == ("frames", "extract_frames")
    changed(runner, row, frames_manifest={0: key, 1: "checkpoints/x/frames/000001.jpg"})
    assert "in the row's manifest alone" in verified(source)["faults"][-1]["message"]


def test_a_report_that_is_missing_empty_or_of_another_job_is_named(runner: Runner, source: SourceAsset) -> None:
    objects, job = runner.connection.objects, row_of(runner, source).job_id
    report = json.loads(objects.get(f"reports/{job}/report.json"))
    objects.delete(f"reports/{job}/report.html")
    objects.put(f"reports/{job}/exposures.csv", b"")
    objects.put(f"reports/{job}/report.json", json.dumps({**report, "job_id": "another"}).encode())
    faults = verified(source)["faults"]
    assert {fault["key"].rpartition("/")[2] for fault in faults} == {"report.html", "exposures.csv", "report.json"}
    text = " ".join(fault["message"] for fault in faults)
    assert "got none" in text and "got an empty one" in text and "got that of another" in text
    objects.put(f"reports/{job}/report.json", b"{")
    assert "got an unreadable file" in " ".join(fault["message"] for fault in verified(source)["faults"])


@pytest.mark.parametrize("name", ["report.html", "report.json", "exposures.csv", "summary.csv"])
def test_a_report_that_was_written_over_is_named_and_not_handed_out(
    runner: Runner, source: SourceAsset, tmp_path: Path, name: str
) -> None:
    objects, job = runner.connection.objects, latest_reported_job(runner.connection, source)
    key = f"reports/{job.id}/{name}"
    content = objects.get(key)
    for changed, word in ((content + b" ", "bytes"), (content[:-1] + bytes([content[-1] ^ 1]), "SHA-256")):
        objects.put(key, changed)
        told = verified(source)
        assert {fault["key"] for fault in told["faults"]} == {key}
        assert word in told["faults"][0]["message"]
        assert told["reports_without_digests"] == 0
        with pytest.raises(CheckpointError, match=f"{name}: expected .* the file was changed"):
            fetch_report(runner.connection, job, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_report_older_than_a_kind_of_file_is_whole_without_it(
    runner: Runner, source: SourceAsset, tmp_path: Path
) -> None:
    objects, job = runner.connection.objects, row_of(runner, source).job_id
    report = json.loads(objects.get(f"reports/{job}/report.json"))
    objects.delete(f"reports/{job}/summary.csv")
    assert [fault["key"].rpartition("/")[2] for fault in verified(source)["faults"]] == ["summary.csv"]
    del report["files"]
    with runner.connection.database.session() as session:
        session.execute(sa.update(DetectJob).where(DetectJob.id == job).values(report_files={}))
    objects.put(f"reports/{job}/report.json", json.dumps(report).encode())
    told = verified(source)
    assert (told["faults"], told["reports"], told["reports_without_digests"]) == ([], 1, 1)
    fetch_report(runner.connection, latest_reported_job(runner.connection, source), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report.html", "exposures.csv"}


@pytest.mark.parametrize("stage", ["match_brands", "extract_frames", "report"])
def test_doing_what_is_advised_makes_it_good(runner: Runner, source: SourceAsset, stage: str) -> None:
    objects = runner.connection.objects
    job = row_of(runner, source).job_id
    if stage == "report":
        objects.delete(f"reports/{job}/report.json")
    elif stage == "extract_frames":
        objects.delete(row_of(runner, source, stage).frames_manifest[0])
    else:
        key = row_of(runner, source, stage).stage_output_key
        objects.put(key, flipped(objects.get(key)))
    [fault] = verified(source)["faults"]
    done = CliRunner().invoke(app, shlex.split(fault["remedy"])[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    told = verified(source, "--frames")
    # The old one is told of still, for it is damaged; a newer one stands for it.
    assert [(f["key"], f["replaced"], f["remedy"]) for f in told["faults"]] == [(fault["key"], True, "")]
    assert told["ok"]


def test_of_all_sources_the_faulty_one_is_told_in_words_and_refused_requests_start_nothing(
    secluded: Runner,
) -> None:
    with secluded.connection.database.session() as session:
        well, ill = (repository.register_source(session, f"/library/{uuid.uuid4()}.mp4") for _ in range(2))
        jobs = [repository.create_job(session, one) for one in (well, ill)]
    for job in jobs:
        row = secluded.connection.checkpoints.commit(
            job=job,
            stage=STAGE,
            fingerprint="f",
            journal=secluded.connection.checkpoints.journal(job.id, STAGE, "f"),
            stats={},
            config_snapshot={},
            config_overrides={"min_confidence": 0.6},
            input_checkpoint_ids=[],
        )
    secluded.connection.objects.delete(row.stage_output_key)
    cli = CliRunner()
    done = cli.invoke(app, ["doctor", "--verify"], catch_exceptions=False)
    assert done.exit_code == 1
    assert "2 checkpoints of 2 sources" in done.stdout and "1 faults" in done.stdout
    advice = f"touchline replay {ill.partition_key} --from run_ocr --set run_ocr.min_confidence=0.6"
    assert advice in done.stderr and well.partition_key not in done.output
    for words in (["doctor", "some-source"], ["doctor", "--frames"], ["doctor", "nobody", "--verify"]):
        with pytest.raises(BadInputError):
            cli.invoke(app, words, catch_exceptions=False)
