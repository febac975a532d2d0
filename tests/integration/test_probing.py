"""Looking into strangers' files: whatever one of them does is told, and the others are taken up in the same look."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest
import sqlalchemy as sa

from detection_assets.checks.library import waiting_uploads
from detection_assets.upkeep import ingest_uploads as work
from resources.database import Database
from resources.local_services import Endpoints
from resources.probing import Prober
from resources.uploads import BucketUploads, FolderUploads
from tests.support.hostile_place import HostileUploads
from tests.support.upload_library import Library, Look, children, opened, picture
from touchline.library import repository
from touchline.library.intake import BEGUN, UploadState
from touchline.library.tables import SourceState, Upload

GIB = 1024**3


@pytest.fixture
def library(empty_database: Database, services: Endpoints, tmp_path: Path) -> Iterator[Library]:
    with opened(empty_database, services, tmp_path) as library:
        library.places = [HostileUploads(library.folder)]
        yield library


def put(library: Library, *names: str) -> None:
    """Pictures under these names, the first the oldest."""
    for age, name in enumerate(reversed(names)):
        path = library.folder / name
        path.write_bytes(picture(10 + age))


def look(library: Library, *, limit_s: float = 20, memory: int = GIB) -> Look:
    with Prober(limit_s=limit_s, memory=memory) as prober:
        return library.look(prober=prober)


REFUSED = {
    "crash.png": "SIGSEGV",
    "exit.png": "ended with code 3",
    "spin.png": "of work",
    "eat.png": "GiB of memory",
    "odd.png": "KeyError",
    "greedy.png": "no frame in the first 1 GiB that were read",
    "long.png": "gave an invalid answer",
    "ffmpeg.png": "Input/output error",
}
WAITING = {"sleep.png": "waiting", "killed.png": "short of memory", "disk.png": "Input/output error"}


def test_files_that_do_harm_are_refused_with_their_reasons_and_the_others_are_taken_up(library: Library) -> None:
    put(library, *REFUSED, "fine.png")
    found = look(library, limit_s=8)
    assert [upload.key for upload in found.requests] == ["fine.png"]
    reasons = dict(found.refused)
    assert reasons.keys() == {str(library.folder / name) for name in REFUSED}
    for name, reason in REFUSED.items():
        path = str(library.folder / name)
        assert reason in reasons[path] and path in reasons[path]
        assert library.source(path).state is SourceState.REJECTED
        assert library.states()[name, 1] == "refused"
    assert look(library).refused == []


def test_files_whose_disk_or_machine_fails_wait_with_their_reasons_and_come_last(library: Library) -> None:
    put(library, "sleep.png", "fine.png", "killed.png", "disk.png")
    found = look(library, limit_s=8)
    assert [upload.key for upload in found.requests] == ["fine.png"]
    assert len(found.troubles) == len(WAITING)
    rows = library.rows()
    for name, reason in WAITING.items():
        row = rows[name, 1]
        assert (row.state, reason in row.reason) == (UploadState.WAITING, True), row.reason
    with library.connection.database.session() as session:
        assert {upload.key for upload in repository.uploads_with_errors(session)} == WAITING.keys()
    url = library.connection.database.url.render_as_string(hide_password=False)
    done = subprocess.run(
        [sys.executable, "-m", "touchline_cli", "doctor", "--json"],
        env={**os.environ, "TOUCHLINE_POSTGRES_URL": url},
        capture_output=True,
        text=True,
        timeout=240,
    )
    told = {row["upload"]: row["waits_because"] for row in json.loads(done.stdout)["uploads"]}
    assert told == {str(library.folder / name): rows[name, 1].reason for name in WAITING}
    assert len(waiting_uploads(library.connection)) == len(WAITING)
    put(library, "later.png")
    assert {upload.key for upload in look(library, limit_s=8).requests} == {"fine.png", "later.png"}


def test_what_a_library_prints_is_no_answer(library: Library) -> None:
    put(library, "chatter.png", "fine.png")
    assert {upload.key for upload in look(library).requests} == {"chatter.png", "fine.png"}


def test_those_that_failed_are_tried_by_turns(library: Library) -> None:
    put(library, *(f"disk.{n}.png" for n in range(work.TROUBLES + 1)))
    tried = []
    for _ in range(2):
        look(library)
        rows = library.rows()
        tried.append({key for (key, _), row in rows.items() if row.reason and row.last_seen == library.now})
    assert [len(keys) for keys in tried] == [work.TROUBLES, work.TROUBLES]
    assert tried[0] | tried[1] == {f"disk.{n}.png" for n in range(work.TROUBLES + 1)}


def test_a_tag_in_no_known_encoding_holds_up_nothing(library: Library) -> None:
    library.places = [BucketUploads(library.objects), FolderUploads(library.folder)]
    path = library.folder / "tagged.avi"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "MARKED-TITLE"
        stream = container.add_stream("mjpeg", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame(64, 48, "yuvj420p")))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    assert b"MARKED-TITLE" in data
    path.write_bytes(data.replace(b"MARKED-TITLE", b"b\xe9\xff\xfe-TITLE!"))
    library.objects.put("uploads/tagged.avi", path.read_bytes())
    put(library, "fine.png")
    library.objects.put("uploads/fine.png", picture(200))
    found = look(library)
    assert [u.key for u in found.requests if u.key == "fine.png"] == ["fine.png"] * 2
    with library.connection.database.session() as session:
        states = session.scalars(sa.select(Upload.state).where(Upload.key == "tagged.avi")).all()
    assert len(states) == 2 and set(states) <= {UploadState.REQUESTED, UploadState.REFUSED}


def test_a_time_stamp_that_no_calendar_holds_is_no_reason_to_stop(library: Library) -> None:
    put(library, "fine.png", "future.png")
    os.utime(library.folder / "future.png", (2**40, 2**40))
    look(library)
    assert {upload.key for upload in look(library).requests} == {"fine.png", "future.png"}


def test_a_folder_inside_that_may_not_be_read_hides_itself_alone(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    (library.folder / "closed").mkdir()
    put(library, "closed/inside.png", "fine.png")
    library.obey(look(library))
    walk = os.walk

    def closed(root: Path, onerror: object) -> Iterator[object]:
        for folder, folders, names in walk(root, onerror=onerror):  # type: ignore[arg-type]
            if "closed" in folders:
                folders.remove("closed")
                onerror(PermissionError(13, "Permission denied", str(root / "closed")))  # type: ignore[operator]
            yield folder, folders, names

    monkeypatch.setattr(os, "walk", closed)
    put(library, "new.png")
    found = look(library)
    assert [upload.key for upload in found.requests] == ["new.png"]
    assert "Permission denied" in str(found.troubles[0])
    assert library.rows()["closed/inside.png", 1].gone_at is None, "it may be there"


def test_a_look_that_ends_with_its_process_is_noted_and_the_next_begins_with_others(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(library, "fine.png", "deadly.png")

    def dies(prober: Prober, *_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(Prober, "identify", dies)
    with pytest.raises(KeyboardInterrupt):
        look(library)
    row = library.rows()["deadly.png", 1]
    assert (row.state, row.reason, row.looks) == (UploadState.WAITING, BEGUN, 1)
    monkeypatch.undo()
    taken: list[str] = []
    probe = Prober.probe

    def noting(prober: Prober, place: Any, upload: Any) -> Any:
        taken.append(upload.key)
        return probe(prober, place, upload)

    monkeypatch.setattr(Prober, "probe", noting)
    assert len(look(library).requests) == 2
    assert taken == ["fine.png", "deadly.png"]


def test_what_gives_no_answer_is_refused_after_so_many_looks_and_anew_content_is_looked_into(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "MAX_PROBES", 2)
    put(library, "disk.png")
    assert [len(look(library).refused) for _ in range(3)] == [0, 0, 1]
    assert "2 attempts to probe it ended without a result" in library.rows()["disk.png", 1].reason
    assert look(library).refused == []
    (library.folder / "disk.png").write_bytes(picture(99))
    look(library)
    assert library.rows()["disk.png", 2].looks == 1


def test_a_disk_that_hangs_at_the_checksum_holds_up_nothing(library: Library) -> None:
    put(library, "stuck.png", "fine.png")
    found = look(library, limit_s=8)
    assert [upload.key for upload in found.requests] == ["fine.png"]
    assert "could not be probed within" in library.rows()["stuck.png", 1].reason


def test_a_recording_that_stalls_with_its_space_taken_ends_and_leaves_nothing_running(library: Library) -> None:
    path = library.folder / "stalled.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 320, 240
        for _ in range(50):
            container.mux(stream.encode(av.VideoFrame(320, 240, "yuv420p")))
        container.mux(stream.encode(None))
    os.truncate(path, 900)
    os.truncate(path, 200 * GIB)
    put(library, "fine.png")
    before = children()
    found = look(library, limit_s=8)
    assert [upload.key for upload in found.requests] == ["fine.png"]
    row = library.rows()["stalled.mkv", 1]
    assert row.reason and row.looks == 1
    assert children() <= before
