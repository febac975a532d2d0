"""New uploads: what lies in the bucket or the folder becomes a source with one run, whatever fails in between."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from detection_assets.upkeep import retire_source as retiring
from resources.database import Database
from resources.local_services import Endpoints
from resources.probing import Prober
from resources.uploads import BucketUploads, FolderUploads
from tests.support.file_times import new_time
from tests.support.flaky_proxy import FlakyProxy
from tests.support.upload_library import Library, bucket, opened, picture
from touchline.errors import ServiceError
from touchline.library import repository
from touchline.library.intake import UploadState
from touchline.library.naming import checksum
from touchline.library.tables import SourceState, Upload


@pytest.fixture
def library(empty_database: Database, services: Endpoints, tmp_path: Path) -> Iterator[Library]:
    with opened(empty_database, services, tmp_path) as library:
        yield library


# From a look to a run


def test_an_upload_of_either_kind_becomes_a_source_with_one_run(library: Library) -> None:
    library.objects.put("uploads/cup/Final – 1, a.png", picture())
    (library.folder / "board.png").write_bytes(picture(90))
    found = library.look()
    assert {upload.key for upload in found.requests} == {"cup/Final – 1, a.png", "board.png"}
    assert library.states() == {("board.png", 1): "requested", ("cup/Final – 1, a.png", 1): "requested"}
    assert len(library.obey(found)) == 2
    for _ in range(2):
        assert library.look().requests == []
    assert set(library.states().values()) == {"started"}
    path = f"s3://{library.objects.bucket}/uploads/cup/Final – 1, a.png"
    stored, local = library.source(path), library.source(str(library.folder / "board.png"))
    etag = library.rows()["cup/Final – 1, a.png", 1].etag
    assert (stored.width, stored.height, stored.state) == (96, 64, SourceState.ACCEPTED)
    assert stored.checksum == f"etag:{etag}"
    assert local.checksum == checksum(library.folder / "board.png")


def test_what_still_grows_waits(library: Library) -> None:
    path = library.folder / "match.mp4"
    for n in range(3):
        path.write_bytes(b"x" * (n + 1))
        # The file is of this second, by the look's clock too.
        library.now = datetime.now(UTC)
        assert library.look(later=timedelta()).requests == []
        assert library.states() == {("match.mp4", 1): "waiting"}
    path.write_bytes(picture())
    library.now = datetime.now(UTC)
    assert library.look(later=timedelta()).scanned.waiting == 1
    assert [upload.key for upload in library.look().requests] == ["match.mp4"]


def test_a_look_takes_up_so_many_and_the_next_looks_take_up_the_rest(library: Library) -> None:
    names = [f"{n}.png" for n in range(7)]
    for name in names:
        path = library.folder / name
        path.write_bytes(picture())
        os.utime(path, (1_700_000_000, 1_700_000_000))
    began: list[str] = []
    sizes = []
    while new := library.obey(library.look(limit=3)):
        taken = [state for state in library.states().values() if state != "waiting"]
        assert len(taken) == len(began) + len(new), "no more is looked into than is asked for"
        sizes.append(len(new))
        began += new
    assert (sizes, sorted(began)) == ([3, 3, 1], names)
    (library.folder / "0-before-all.png").write_bytes(picture())
    assert library.obey(library.look(limit=3)) == ["0-before-all.png"]


def test_new_content_under_the_same_key_is_another_run_of_the_same_source(library: Library) -> None:
    started = []
    for grey in (10, 20, 10):
        library.objects.put("uploads/a.png", picture(grey))
        found = library.look()
        started += [(upload.partition_key, upload.run_key) for upload in found.requests]
        library.obey(found)
    assert (len({key for key, _ in started}), len(set(started))) == (1, 3)
    library.objects.put("uploads/a.png", picture(10))
    assert library.look().requests == [], "the same content sent again"
    assert list(library.states()) == [("a.png", 1), ("a.png", 2), ("a.png", 3)]
    assert library.source(f"s3://{library.objects.bucket}/uploads/a.png").checksum == (
        f"etag:{library.rows()['a.png', 3].etag}"
    )


def test_a_file_written_over_with_the_same_length_and_time_is_new_and_one_that_was_only_touched_is_not(
    library: Library,
) -> None:
    path = library.folder / "a.png"
    one, other = picture(10), picture(20)
    path.write_bytes(one.ljust(200, b"\0"))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert len(library.obey(library.look())) == 1
    new_time(path)
    path.write_bytes(other.ljust(200, b"\0"))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert len(library.obey(library.look())) == 1
    new_time(path)
    path.touch()
    assert library.look().requests == []
    assert list(library.states().values()) == ["started", "started", "unchanged"]


def test_a_deleted_upload_is_marked_and_starts_nothing_when_it_comes_back_as_it_was(library: Library) -> None:
    library.objects.put("uploads/a.png", picture())
    library.obey(library.look())
    library.objects.delete("uploads/a.png")
    library.look()
    assert library.rows()["a.png", 1].gone_at is not None
    library.objects.put("uploads/a.png", picture())
    assert library.look().requests == []
    assert library.rows()["a.png", 1].gone_at is None


# Refusals


def test_what_is_no_video_is_refused_once_with_the_reason_everywhere(library: Library) -> None:
    library.objects.put("uploads/notes.mp4", b"minutes of the meeting " * 999)
    library.objects.put("uploads/empty.mp4", b"")
    (library.folder / "list.txt").write_text("#EXTM3U\nfile:///etc/passwd\n")
    found = library.look()
    assert found.requests == []
    assert len(found.refused) == 3
    for path, reason in found.refused:
        assert reason
        assert library.source(path).state is SourceState.REJECTED
        assert library.source(path).rejection_reason == reason
        assert path in reason
    assert set(library.states().values()) == {"refused"}
    assert library.look().refused == []
    library.objects.put("uploads/notes.mp4", picture())
    assert [upload.version for upload in library.look().requests] == [2]


def test_an_odd_name_holds_up_no_other(library: Library) -> None:
    with library.objects._boto3("a test") as client:
        client.put_object(Bucket=library.objects.bucket, Key="uploads/two\nlines.png", Body=picture())
        client.put_object(Bucket=library.objects.bucket, Key="uploads/folder/", Body=b"")
    library.objects.put("uploads/.hidden.png", picture())
    library.objects.put("uploads/fine.png", picture())
    Path(os.fsdecode(bytes(library.folder) + b"/\xff.png")).write_bytes(picture())
    (library.folder / "nowhere").symlink_to(library.folder / "gone")
    os.mkfifo(library.folder / "pipe")
    found = library.look()
    assert [upload.key for upload in found.requests] == ["fine.png"]
    assert sorted(reason.rsplit("; ", 1)[1] for _, reason in found.refused) == ["rename it", "rename the file"]
    assert len(library.rows()) == 3


# Faults


def test_a_death_after_the_ledger_was_written_loses_nothing_and_starts_nothing_twice(library: Library) -> None:
    library.objects.put("uploads/a.png", picture())
    lost = library.look()
    again = library.look()
    assert [u.run_key for u in again.requests] == [u.run_key for u in lost.requests]
    assert library.obey(again) == ["a.png"]
    assert library.obey(lost) == []
    assert library.look().requests == []


@pytest.mark.parametrize("point", ["record_uploads", "register_source", "resolve_upload"])
def test_a_death_before_a_commit_is_made_up_for_by_the_next_look(
    library: Library, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    library.objects.put("uploads/a.png", picture())
    real = getattr(repository, point)

    def dies(*arguments: object, **named: object) -> None:
        real(*arguments, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(repository, point, dies)
    with pytest.raises(KeyboardInterrupt):
        library.look()
    monkeypatch.undo()
    assert library.obey(library.look()) == ["a.png"]
    assert library.look().requests == []


def test_two_runs_of_the_same_uploads_at_once_register_them_once(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.objects.put("uploads/a.png", picture())
    [run] = library.begin(library.scan())
    probe = Prober.probe

    def meanwhile(prober: Prober, place: object, upload: object) -> object:
        monkeypatch.undo()
        assert library.ingest(run).registered == [f"s3://{library.objects.bucket}/uploads/a.png"]
        assert library.obey(library.look(later=timedelta())) == ["a.png"]
        return probe(prober, place, upload)  # type: ignore[arg-type]

    monkeypatch.setattr(Prober, "probe", meanwhile)
    assert library.ingest(run).registered == []
    assert library.look().requests == []
    assert library.states() == {("a.png", 1): "started"}


def test_a_server_that_fails_while_an_upload_is_looked_into_refuses_nothing(
    library: Library, services: Endpoints, clip: tuple[Path, object]
) -> None:
    library.objects.put_file("uploads/a.mp4", clip[0])
    (library.folder / "b.png").write_bytes(picture())
    with FlakyProxy(services.s3_endpoint) as proxy:
        objects = bucket(services, library.objects.bucket, proxy.endpoint, retry_s=0)
        place = BucketUploads(objects)
        [upload] = place.listing().uploads
        for fault in ("503", "refuse"):
            proxy.fault = fault
            with pytest.raises(ServiceError):
                place.probe(upload)
        proxy.fault = ""
        library.places[0] = place
        # It can be listed and opened, and not read.
        proxy.only, proxy.fault = f"GET /{library.objects.bucket}/uploads/a.mp4".encode(), "503"
        found = library.look()
        assert [u.key for u in found.requests] == ["b.png"], "the folder is looked at all the same"
        assert isinstance(found.troubles[0], ServiceError)
        assert library.states()["a.mp4", 1] == "waiting"
        assert "failed at" in library.rows()["a.mp4", 1].reason
        proxy.only = b""
        library.obey(found)
        found = library.look()
        assert found.troubles, "a bucket that cannot be listed"
        assert library.rows()["a.mp4", 1].gone_at is None
        proxy.fault = ""
        assert [u.key for u in library.look().requests] == ["a.mp4"]


def test_an_upload_that_goes_away_while_it_is_looked_into_is_neither_refused_nor_holds_up_others(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.objects.put("uploads/gone.png", picture())
    (library.folder / "gone.png").write_bytes(picture())
    library.objects.put("uploads/stays.png", picture())
    (library.folder / "stays.png").write_bytes(picture())
    listings = {place: place.listing() for place in library.places}
    library.objects.delete("uploads/gone.png")
    (library.folder / "gone.png").unlink()
    for kind in (BucketUploads, FolderUploads):
        monkeypatch.setattr(kind, "listing", lambda place: listings[place])
    found = library.look()
    assert ([u.key for u in found.requests], found.refused, found.troubles) == (["stays.png"] * 2, [], [])
    monkeypatch.undo()
    library.look()
    with library.connection.database.session() as session:
        rows = session.scalars(sa.select(Upload).where(Upload.key == "gone.png")).all()
    assert [(row.state, row.gone_at is not None) for row in rows] == [(UploadState.WAITING, True)] * 2


def test_a_folder_that_may_not_be_read_is_trouble_and_not_empty(library: Library) -> None:
    (library.folder / "a.png").write_bytes(picture())
    library.obey(library.look())
    library.places[1] = FolderUploads(library.folder / "unmounted")
    assert library.look().troubles
    assert library.rows()["a.png", 1].gone_at is None


# Forgetting


def test_a_forgotten_source_is_not_started_again_until_its_upload_comes_anew(library: Library) -> None:
    library.objects.put("uploads/a.png", picture())
    library.obey(library.look())
    library.look()
    [run] = library.runs()
    library.instance.report_run_failed(run)
    key = library.rows()["a.png", 1].partition_key
    retiring.forget(library.instance, library.connection, key)
    assert library.look().requests == []
    row = library.rows()["a.png", 1]
    assert (row.state, row.reason) == (UploadState.FORGOTTEN, "retired by `touchline forget`")
    library.objects.delete("uploads/a.png")
    library.look()
    library.objects.put("uploads/a.png", picture())
    assert library.obey(library.look()) == ["a.png"]
    assert library.states() == {("a.png", 1): "forgotten", ("a.png", 2): "requested"}


def test_a_forgotten_file_that_is_only_touched_stays_forgotten(library: Library) -> None:
    path = library.folder / "a.png"
    path.write_bytes(picture())
    library.obey(library.look())
    library.instance.report_run_failed(library.runs()[0])
    retiring.forget(library.instance, library.connection, library.rows()["a.png", 1].partition_key)
    new_time(path)
    path.touch()
    assert library.look().requests == []
    assert set(library.states().values()) == {"forgotten"}
