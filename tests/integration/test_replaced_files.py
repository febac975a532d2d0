"""A file that is replaced: new content is never stored as the old, and frames of the old content are told as such.

Runs here are those of Dagster's UI: nobody registers the file again before them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from detection_assets.checks.library import stale_checkpoints
from detection_assets.local.runner import Runner
from resources import source_files
from resources.models import Models
from resources.source_files import SourceFile, with_content_now
from resources.uploads import ETAG
from tests.support.file_times import new_time
from touchline.errors import BadInputError
from touchline.library import repository
from touchline.library.naming import checksum, content_mark
from touchline.library.tables import SourceAsset, StageCheckpoint
from touchline.stages.extract_frames import ExtractFrames, deserialize
from touchline.synthetic import Truth

pytestmark = pytest.mark.slow

FRAMES: dict[str, Any] = {"first": "extract_frames", "until": "extract_frames"}
Replace = Callable[[Path, Path], None]


def picture(path: Path, grey: int, *, width: int = 320) -> Path:
    """A picture without compression: two of one width have one size in bytes."""
    cv2.imwrite(str(path), np.full((180, width, 3), grey, np.uint8))
    return path


def renamed_over(new: Path, path: Path) -> None:
    new.rename(path)


def written_over(new: Path, path: Path) -> None:
    path.write_bytes(new.read_bytes())


def linked(new: Path, path: Path) -> None:
    path.unlink()
    path.symlink_to(new)


def with_its_old_time(new: Path, path: Path) -> None:
    before = path.stat()
    new_time(path)
    written_over(new, path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


@pytest.fixture
def source(runner: Runner, tmp_path: Path) -> SourceAsset:
    return runner.register(picture(tmp_path / "still.bmp", 60))


def extracted(runner: Runner, source: SourceAsset) -> StageCheckpoint:
    """The row that extract_frames makes, materialized alone."""
    outcome = runner.run(source, **FRAMES)
    assert outcome.succeeded, outcome.error
    with runner.connection.database.session() as session:
        [row] = repository.list_checkpoints(session, job_id=outcome.job.id)
    return row


def brightness(runner: Runner, row: StageCheckpoint) -> list[int]:
    frames = map(deserialize, runner.connection.checkpoints.read(row))
    data = [np.frombuffer(runner.connection.checkpoints.get_frame(frame.key), np.uint8) for frame in frames]
    return [round(float(np.mean(np.asarray(cv2.imdecode(one, cv2.IMREAD_GRAYSCALE))))) for one in data]


def registered(runner: Runner, source: SourceAsset) -> SourceAsset:
    with runner.connection.database.session() as session:
        return repository.get_source(session, source.partition_key)


def stale(runner: Runner, source: SourceAsset) -> list[str]:
    lines = stale_checkpoints(runner.connection, Models())
    return [line for line in lines if line.startswith(source.partition_key)]


@pytest.mark.parametrize("replace", [renamed_over, written_over, linked, with_its_old_time])
def test_new_content_is_extracted_under_a_fingerprint_of_its_own(
    runner: Runner, source: SourceAsset, tmp_path: Path, replace: Replace
) -> None:
    path = Path(source.video_path)
    old = extracted(runner, source)
    replace(picture(tmp_path / "new.bmp", 200), path)
    [told] = stale(runner, source)
    assert "extract_frames" in told and "was replaced after its frames were extracted" in told
    new = extracted(runner, source)
    assert (new.reused_from, brightness(runner, new)) == (None, [200])
    assert new.fingerprint != old.fingerprint
    assert registered(runner, source).checksum == new.stats["checksum"] == checksum(path)
    assert old.stats["checksum"] == source.checksum
    assert stale(runner, source) == []


def test_a_file_of_another_size_is_told_and_what_it_is_now_is_registered(
    runner: Runner, source: SourceAsset, tmp_path: Path
) -> None:
    extracted(runner, source)
    picture(Path(source.video_path), 60, width=640)
    [told] = stale(runner, source)
    assert "was replaced after its frames were extracted" in told
    extracted(runner, source)
    assert registered(runner, source).width == 640
    # Rows of earlier versions know the size alone.
    with runner.connection.database.session() as session:
        repository.get_source(session, source.partition_key).content_mark = ""
    assert stale(runner, source) == []


def test_the_same_content_is_hashed_once_more_and_its_frames_are_used_again(
    runner: Runner, source: SourceAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def counted(path: Path, known: str = "") -> str:
        hashed.append(path.name)
        return checksum(path, known)

    monkeypatch.setattr(source_files, "checksum", counted)
    path = Path(source.video_path)
    old = extracted(runner, source)
    assert hashed == []
    new_time(path)
    path.touch()
    assert stale(runner, source) == stale(runner, source) == []
    assert hashed == [path.name]
    new_time(path)
    path.touch()
    assert extracted(runner, source).reused_from == old.id
    assert extracted(runner, source).reused_from == old.id
    assert hashed == [path.name] * 2
    assert registered(runner, source).content_mark == content_mark(path)


def test_a_replay_from_a_later_stage_says_that_its_frames_show_the_former_content(
    runner: Runner, source: SourceAsset, tmp_path: Path
) -> None:
    first = runner.run(source)
    assert first.succeeded, first.error
    picture(Path(source.video_path), 200, width=640)
    outcome = runner.run(source, first="match_brands")
    assert outcome.succeeded, outcome.error
    report = json.loads(runner.connection.objects.get(outcome.job.report_prefix + "report.json"))
    assert "was replaced after its frames were extracted: they show the former content" in report["warnings"][0]
    assert report["media"]["width"] == 320
    # Registered, as by `touchline run`, and the frames are still those of the former content.
    runner.register(Path(source.video_path))
    outcome = runner.run(source, first="match_brands")
    report = json.loads(runner.connection.objects.get(outcome.job.report_prefix + "report.json"))
    assert "they show the former content" in report["warnings"][0]
    # A file that is gone says nothing of the frames.
    runner.run(registered(runner, source))
    Path(source.video_path).unlink()
    outcome = runner.run(source, first="match_brands")
    report = json.loads(runner.connection.objects.get(outcome.job.report_prefix + "report.json"))
    assert not [warning for warning in report["warnings"] if "replaced" in warning]


def chunks_of(runner: Runner, source: SourceAsset) -> list[str]:
    """The chunks in the journals of a source's jobs."""
    with runner.connection.database.session() as session:
        jobs = repository.list_jobs(session, source.id)
    stored = [key for job in jobs for key, _ in runner.connection.objects.list(f"checkpoints/{job.id}/stages/")]
    return sorted(key.rpartition("/")[2] for key in stored if ".partial/" in key)


def test_a_file_that_is_replaced_while_it_is_extracted_leaves_no_chunk_of_the_new_content(
    runner: Runner, clip: tuple[Path, Truth], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "match.mp4"
    shutil.copyfile(clip[0], path)
    source = runner.register(path)
    short = {"extract_frames.chunk_s": 1.0}
    with monkeypatch.context() as patch:
        chunks = ExtractFrames.chunks

        def replaced(worker: ExtractFrames, *arguments: Any) -> Iterator[Any]:
            for number, chunk in enumerate(chunks(worker, *arguments)):
                if number == 2:
                    renamed_over(picture(tmp_path / "new.bmp", 200), path)
                yield chunk

        patch.setattr(ExtractFrames, "chunks", replaced)
        outcome = runner.run(source, **FRAMES, overrides=short)
    assert not outcome.succeeded
    assert "was replaced or written to while frames were extracted" in outcome.error
    kept = chunks_of(runner, source)
    assert len([name for name in kept if name.startswith(("0", "1", "2"))]) == 2
    # The new content begins at its first frame.
    outcome = runner.run(source, **FRAMES, overrides=short)
    assert outcome.succeeded, outcome.error
    with runner.connection.database.session() as session:
        [row] = repository.list_checkpoints(session, job_id=outcome.job.id)
    assert brightness(runner, row) == [200]
    # The former content, put back, goes on after the chunks that are its own.
    shutil.copyfile(clip[0], path)
    outcome = runner.run(source, **FRAMES, overrides=short)
    with runner.connection.database.session() as session:
        [row] = repository.list_checkpoints(session, job_id=outcome.job.id)
    assert row.stats["checksum"] == source.checksum
    assert row.item_count == 12


def test_a_file_that_gets_another_name_or_mode_is_the_same_and_one_that_is_written_to_is_not(tmp_path: Path) -> None:
    path = picture(tmp_path / "still.bmp", 60)
    file = SourceFile(path, checksum(path), content_mark(path))
    path.chmod(0o600)
    file.check()
    os.link(path, tmp_path / "other.bmp")
    file.check()
    new_time(path)
    path.touch()
    with pytest.raises(BadInputError, match="replaced or written to while frames were extracted"):
        file.check()
    path.unlink()
    with pytest.raises(BadInputError, match="removed or renamed while frames were extracted"):
        file.check()


def test_an_object_that_was_replaced_is_refused_though_its_old_frames_are_there(runner: Runner, tmp_path: Path) -> None:
    objects = runner.connection.objects
    key = f"uploads/{tmp_path.name}.bmp"
    objects.put(key, picture(tmp_path / "a.bmp", 60).read_bytes())
    with runner.connection.database.session() as session:
        source = repository.register_source(
            session, f"s3://{objects.bucket}/{key}", checksum=ETAG + objects.etag(key), size=1
        )
    assert with_content_now(runner.connection, source) == (source, "")
    objects.put(key, picture(tmp_path / "b.bmp", 200).read_bytes())
    with pytest.raises(BadInputError, match="removed or replaced after it was registered"):
        with_content_now(runner.connection, source)
    objects.delete(key)
    assert with_content_now(runner.connection, source) == (source, "")
