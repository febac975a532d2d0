"""The whole pipeline on real servers: a synthetic broadcast through Dagster, its checkpoints, replays and resuming."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

import dagster as dg
import pytest

from detection_assets.execution.registry import STAGES, Stage
from detection_assets.jobs.run_outcome import RunOutcome
from detection_assets.local.report_files import fetch_report
from detection_assets.local.runner import Runner
from touchline.brands import BrandEntry
from touchline.library import repository
from touchline.library.tables import DetectJobStatus, RunType, SourceAsset, StageCheckpoint
from touchline.nodes import NODE_NAMES, REPORT
from touchline.synthetic import Truth

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def first(runner: Runner, clip: tuple[Path, Truth]) -> tuple[SourceAsset, RunOutcome]:
    source = runner.register(clip[0])
    return source, runner.run(source)


def rows_of(runner: Runner, job_id: UUID) -> dict[str, StageCheckpoint]:
    with runner.connection.database.session() as session:
        return {row.stage: row for row in repository.list_checkpoints(session, job_id=job_id)}


def test_the_brands_found_are_those_shown(
    runner: Runner, first: tuple[SourceAsset, RunOutcome], clip: tuple[Path, Truth], tmp_path: Path
) -> None:
    _, outcome = first
    assert outcome.succeeded, outcome.error
    report = json.loads(fetch_report(runner.connection, outcome.job, tmp_path).read_text("utf-8"))
    assert {brand["name"] for brand in report["brands"]} == {brand.name for brand in clip[1].brands}
    for brand in clip[1].brands:
        reported = next(b for b in report["brands"] if b["name"] == brand.name)
        assert reported["seconds"] == pytest.approx(
            sum(b - a for a, b in brand.visible_s), abs=0.5 * len(brand.visible_s)
        ), "each interval begins and ends at most half a sample off"
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert (tmp_path / "exposures.csv").read_text("utf-8-sig").startswith("brand,")


def test_every_node_leaves_a_checkpoint_with_its_blob(runner: Runner, first: tuple[SourceAsset, RunOutcome]) -> None:
    source, outcome = first
    rows = rows_of(runner, outcome.job.id)
    assert list(rows) and set(rows) == set(NODE_NAMES)
    for index, name in enumerate(NODE_NAMES):
        row = rows[name]
        assert row.stage_index == index
        assert row.stage_output_key == f"checkpoints/{outcome.job.id}/stages/{name}.bson"
        blob = runner.connection.objects.get(row.stage_output_key)
        assert (len(blob), hashlib.sha256(blob).hexdigest()) == (row.stage_output_size, row.stage_output_sha256)
        documents = [STAGES[name].module.deserialize(d) for d in runner.connection.checkpoints.read(row)]
        assert len(documents) == row.item_count
        assert [STAGES[name].module.deserialize(STAGES[name].module.serialize(d)) for d in documents] == documents
    assert rows["extract_frames"].frames_prefix == f"checkpoints/{outcome.job.id}/frames/"
    assert len(rows["extract_frames"].frames_manifest) == rows["extract_frames"].item_count
    assert set(rows["filter_scenes"].filtered_frame_sequences) <= set(rows["extract_frames"].frames_manifest)
    assert runner.connection.objects.list(f"checkpoints/{outcome.job.id}/stages/extract_frames.partial/") == []
    assert "yolo11n.pt" in rows["detect_objects"].stats["skipped"]


def promised_numbers() -> dict[str, set[str]]:
    """The names that docs/operations.md promises, by asset."""
    page = (ROOT / "docs/operations.md").read_text("utf-8")
    table = page.partition("### Numbers to plot")[2].partition("\n`dagster/uri`")[0]
    lines = [line.split("|") for line in table.splitlines() if line.startswith("| ")]
    cells = {asset.strip(" `"): text for _, asset, text, _ in lines}
    common = set(re.findall(r"`([\w/]+)`", cells["every asset"]))
    # What stands behind a semicolon depends on a model.
    return {
        name: common | set(re.findall(r"`([\w/]+)`", cells[name].partition(";")[0])) for name in (*NODE_NAMES, REPORT)
    }


def metadata_of(runner: Runner, name: str, source: SourceAsset, run_id: str) -> Mapping[str, dg.MetadataValue]:
    """The metadata of the newest materialization of an asset, which must be that of a run."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(name), asset_partitions=[source.partition_key])
    [record] = runner.instance.fetch_materializations(wanted, limit=1).records
    assert record.asset_materialization is not None
    assert record.run_id == run_id
    return record.asset_materialization.metadata


def test_a_materialization_has_the_numbers_that_the_docs_promise_for_plots(
    runner: Runner, first: tuple[SourceAsset, RunOutcome]
) -> None:
    source, outcome = first
    bucket, rows = runner.connection.objects.bucket, rows_of(runner, outcome.job.id)
    for name, numbers in promised_numbers().items():
        metadata = metadata_of(runner, name, source, outcome.run_id)
        plotted = {k for k, v in metadata.items() if isinstance(v, dg.IntMetadataValue | dg.FloatMetadataValue)}
        assert numbers <= plotted, f"{name} lacks {sorted(numbers - plotted)}"
        key = rows[name].stage_output_key if name in rows else f"reports/{outcome.job.id}/report.html"
        assert metadata["dagster/uri"].value == f"s3://{bucket}/{key}"
        count = rows[name].item_count if name in rows else outcome.job.brands_found
        assert metadata["dagster/row_count"].value == metadata["dagster/partition_row_count"].value == count
    # The same frames counted at the first node and at the next one.
    assert rows["extract_frames"].item_count == rows["filter_scenes"].stats["frames"]


def test_the_job_tells_the_truth(runner: Runner, first: tuple[SourceAsset, RunOutcome]) -> None:
    source, outcome = first
    job = outcome.job
    assert (job.status, job.run_type, job.progress) == (DetectJobStatus.COMPLETED, RunType.INITIAL, 1.0)
    assert job.source_asset_id == source.id
    assert job.dagster_run_id == outcome.run_id
    assert job.parent_job_id is None
    assert job.brands_found > 0
    with runner.connection.database.session() as session:
        sightings = repository.list_sightings(session, source.id)
    assert len(sightings) == job.brands_found


def test_the_same_again_reuses_every_checkpoint(runner: Runner, first: tuple[SourceAsset, RunOutcome]) -> None:
    source, outcome = first
    again = runner.run(source)
    assert again.succeeded
    rows, old = rows_of(runner, again.job.id), rows_of(runner, outcome.job.id)
    assert {name: row.reused_from for name, row in rows.items()} == {name: old[name].id for name in NODE_NAMES}
    assert again.job.parent_job_id == outcome.job.id
    metadata = metadata_of(runner, "extract_frames", source, again.run_id)
    assert metadata["frames"].value == old["extract_frames"].item_count
    assert metadata["wall_s"].value == 0.0


def test_a_replay_from_ocr_reads_upstream_from_checkpoints(
    runner: Runner, first: tuple[SourceAsset, RunOutcome]
) -> None:
    source, outcome = first
    replay = runner.run(source, first="run_ocr", overrides={"run_ocr.min_confidence": 0.6}, from_job=outcome.job.id)
    assert replay.succeeded, replay.error
    assert (replay.job.run_type, replay.job.replay_from_stage) == (RunType.REPLAY, "run_ocr")
    assert replay.job.config_overrides == {"run_ocr": {"min_confidence": 0.6}}
    rows, old = rows_of(runner, replay.job.id), rows_of(runner, outcome.job.id)
    assert set(rows) == {"run_ocr", "match_brands", "escalate_vlm", "escalate_cloud"}
    assert set(rows["run_ocr"].input_checkpoint_ids) == {
        old[name].id for name in ("filter_scenes", "detect_edges", "detect_objects")
    }
    assert rows["run_ocr"].reused_from is None
    assert rows["run_ocr"].fingerprint != old["run_ocr"].fingerprint


def test_one_brand_alias_more_recomputes_matching_and_nothing_before(
    runner: Runner, first: tuple[SourceAsset, RunOutcome]
) -> None:
    source, _ = first
    with runner.connection.database.session() as session:
        repository.upsert_brands(session, [BrandEntry.of("Zzyzx Holdings", ("zzyzx",))])
    rows = rows_of(runner, runner.run(source).job.id)
    assert {name for name, row in rows.items() if row.reused_from is None} == {
        "match_brands",
        "escalate_vlm",
        "escalate_cloud",
    }


def test_an_interrupted_job_is_continued_after_its_last_finished_chunk(
    runner: Runner, clip: tuple[Path, Truth], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = tmp_path / "again.mp4"
    video.write_bytes(clip[0].read_bytes())
    source = runner.register(video)
    settings = {"extract_frames.chunk_s": 2.0}
    worked: list[tuple[str, int]] = []
    worker_of = STAGES["detect_edges"].worker
    assert worker_of is not None

    class Failing:
        """Counts chunks, and fails at the second chunk of the first attempt."""

        def __init__(self, *arguments: object) -> None:
            self._worker = worker_of(*arguments)  # type: ignore[misc,arg-type]
            self.state, self.stats = self._worker.state, self._worker.stats

        def run_chunk(self, chunk):  # type: ignore[no-untyped-def]
            if chunk.chunk_id == 1 and ("fail", 1) not in worked:
                worked.append(("fail", 1))
                raise RuntimeError("the lights went out")
            worked.append(("done", chunk.chunk_id))
            return self._worker.run_chunk(chunk)

    monkeypatch.setitem(
        STAGES, "detect_edges", Stage("detect_edges", STAGES["detect_edges"].module, lambda c, x: "", Failing)
    )
    broken = runner.run(source, overrides=settings)
    assert not broken.succeeded
    assert broken.job.status is DetectJobStatus.FAILED
    assert "the lights went out" in (broken.job.error_message or "")
    continued = runner.run(source, overrides=settings)
    assert continued.succeeded, continued.error
    assert continued.continued is not None
    assert continued.continued.id == broken.job.id
    assert continued.job.run_type is RunType.RETRY
    assert worked == [("done", 0), ("fail", 1), ("done", 1), ("done", 2)]
    monkeypatch.undo()
    whole = runner.run(source, overrides=settings, fresh=True)
    resumed, undisturbed = rows_of(runner, continued.job.id), rows_of(runner, whole.job.id)
    for name in ("detect_edges", "run_ocr", "match_brands"):
        read = runner.connection.checkpoints.read
        assert list(read(resumed[name])) == list(read(undisturbed[name]))


def test_a_run_that_stops_early_completes_at_its_last_stage(
    runner: Runner, first: tuple[SourceAsset, RunOutcome]
) -> None:
    source, _ = first
    short = runner.run(source, until="detect_edges", overrides={"detect_edges.canny_low": 40})
    assert short.succeeded
    assert short.job.status is DetectJobStatus.COMPLETED
    assert set(rows_of(runner, short.job.id)) == {"extract_frames", "filter_scenes", "detect_edges"}
    assert short.job.report_prefix == ""
