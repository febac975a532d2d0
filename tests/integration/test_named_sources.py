"""What a person types for a source or a job: whole, shortened, as a path from here, or nearly right."""

from __future__ import annotations

import unicodedata
import uuid
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from resources.database import Database
from touchline.errors import BadInputError
from touchline.library import repository
from touchline.library.naming import library_path
from touchline.library.tables import SourceAsset
from touchline_cli.sources import matching_sources


def register(session: Session, path: str | Path) -> SourceAsset:
    return repository.register_source(session, str(path), checksum="0" * 64)


def refused(session: Session, text: str) -> str:
    with pytest.raises(BadInputError) as error:
        repository.named_source(session, text)
    return str(error.value)


def test_a_key_may_be_shortened_as_long_as_it_is_one_sources(database: Database, tmp_path: Path) -> None:
    name = f"derby{uuid.uuid4().hex[:8]}"
    with database.session() as session:
        first, second = (register(session, tmp_path / f"{name}-{word}.mp4") for word in ("lazio", "roma"))
        assert repository.named_source(session, f"{name}-l") is first
        assert repository.named_source(session, f"{name.upper()}-ROMA") is second
        assert repository.named_source(session, f"{second.partition_key[:-4]}\N{HORIZONTAL ELLIPSIS}") is second
        told = refused(session, name)
        assert first.partition_key in told and second.partition_key in told
        # No pattern is hidden in it.
        assert "no source" in refused(session, f"{name}%lazio")
        assert "no source" in refused(session, "")


def test_what_is_spelt_nearly_so_is_asked_about(database: Database, tmp_path: Path) -> None:
    name = uuid.uuid4().hex[:12]
    with database.session() as session:
        source = register(session, tmp_path / f"{name} Inter_Napoli.mp4")
        assert f"did you mean {source.partition_key}?" in refused(session, f"{name}-inter-napol1")
        assert f"did you mean {source.partition_key}?" in refused(session, f"/elsewhere/{name} Inter_Napoli.mp4")
        assert "`touchline sources` lists them" in refused(session, "zzzzzzzzzzzzqqqq")
        assert "not valid UTF-8" in refused(session, "match\udcff.mp4")


def test_a_path_may_be_relative_go_up_and_lead_through_links(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    monkeypatch.chdir(tmp_path / "a/b")
    with database.session() as session:
        source = register(session, library_path(tmp_path / "a/match.png"))
        for text in ("../match.png", "./../match.png", str(tmp_path / "link/match.png"), "../../link/b/../match.png"):
            assert repository.named_source(session, text) is source, text
        monkeypatch.setenv("HOME", str(tmp_path / "a"))
        assert repository.named_source(session, "~/match.png") is source
        assert "no source" in refused(session, "~nobody-of-this-name/match.png")
        assert [one.id for one in matching_sources(session, "../m*.png")] == [source.id]
        assert [one.id for one in matching_sources(session, "../../link/match.png")] == [source.id]


def test_both_ways_to_write_an_accent_and_an_upload_are_found_by_their_path(database: Database, tmp_path: Path) -> None:
    name = f"{uuid.uuid4().hex} Málaga"
    decomposed, composed = (unicodedata.normalize(form, name) for form in ("NFD", "NFC"))
    with database.session() as session:
        source = register(session, library_path(tmp_path / f"{decomposed}.mp4"))
        assert repository.named_source(session, str(tmp_path / f"{composed}.mp4")) is source
        assert [one.id for one in matching_sources(session, f"*{composed}*")] == [source.id]
        upload = register(session, f"s3://touchline/uploads/{composed}.mp4")
        assert repository.named_source(session, f"s3://touchline/uploads/{decomposed}.mp4") is upload
        assert [one.id for one in matching_sources(session, f"s3://touchline/*{decomposed}*")] == [upload.id]


def test_a_pattern_may_be_a_path_with_brackets_in_it(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        source = register(session, tmp_path / f"{uuid.uuid4().hex} [1080p].mp4")
        assert [one.id for one in matching_sources(session, source.video_path)] == [source.id]
        assert matching_sources(session, f"{source.video_path}?") == []


def test_a_jobs_id_may_be_shortened_to_eight_characters_or_more(database: Database, tmp_path: Path) -> None:
    head = uuid.uuid4().hex[:8]
    one, other = (uuid.UUID(head + digit + uuid.uuid4().hex[9:]) for digit in "12")
    with database.session() as session:
        source = register(session, tmp_path / f"{head}.mp4")
        for identity in (one, other):
            repository.create_job(session, source, job_id=identity)
        for text in (str(one), one.hex, str(one)[:10], one.hex[:11].upper(), str(one)[:20]):
            assert repository.get_job(session, text).id == one, text
        with pytest.raises(BadInputError, match=f"is the beginning of {one} .*, {other} "):
            repository.get_job(session, head)
        for text in (one.hex[:7], "yesterday", "", f"{head[:7]}%"):
            with pytest.raises(BadInputError, match="expected the id of a job, or its first 8 characters or more"):
                repository.get_job(session, text)
        with pytest.raises(BadInputError, match="no job 00000000 is known"):
            repository.get_job(session, "00000000")
