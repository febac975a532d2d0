"""Names that differ only in how accents are written: two files are two sources, and neither is lost."""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.database import Database
from resources.local_services import Endpoints
from tests.support.upload_library import Library, opened, picture
from touchline.errors import BadInputError
from touchline.library import repository
from touchline.library.naming import partition_key, source_asset_id
from touchline.library.tables import SourceAsset

COMPOSED, APART = (unicodedata.normalize(form, "café.png") for form in ("NFC", "NFD"))


@pytest.fixture
def library(empty_database: Database, services: Endpoints, tmp_path: Path) -> Iterator[Library]:
    with opened(empty_database, services, tmp_path) as library:
        yield library


def test_two_uploads_whose_names_look_alike_are_two_sources_in_the_bucket_and_the_folder(library: Library) -> None:
    for shade, name in enumerate((COMPOSED, APART)):
        library.objects.put(f"uploads/{name}", picture(10 + shade))
        (library.folder / name).write_bytes(picture(20 + shade))
    found = library.look()
    assert len({upload.partition_key for upload in found.requests}) == 4
    assert sorted(library.obey(found)) == sorted([COMPOSED, APART] * 2)
    for location in (place.location for place in library.places):
        for name in (COMPOSED, APART):
            source = library.source(location + name)
            assert (source.video_path, source.partition_key) == (location + name, partition_key(location + name))
            assert source.partition_key.startswith("cafe-")


def test_a_source_is_found_by_either_spelling_while_there_is_one(database: Database) -> None:
    folder = f"s3://b/{uuid.uuid4()}/"
    with database.session() as session:
        apart = repository.register_source(session, folder + APART)
        assert repository.get_source(session, folder + COMPOSED).id == apart.id
        composed = repository.register_source(session, folder + COMPOSED)
        assert composed.id != apart.id
        assert repository.get_source(session, folder + COMPOSED).id == composed.id
        assert repository.get_source(session, folder + APART).id == apart.id


def test_a_source_that_got_its_id_from_the_composed_form_keeps_it_and_is_not_taken_for_the_other(
    database: Database,
) -> None:
    folder = f"s3://b/{uuid.uuid4()}/"
    identity, key = source_asset_id(folder + COMPOSED), partition_key(folder + COMPOSED)
    with database.session() as session:
        session.add(SourceAsset(id=identity, partition_key=key, video_path=folder + APART, checksum="old"))
    with database.session() as session:
        again = repository.register_source(session, folder + APART, checksum="new")
        assert (again.id, again.partition_key, again.checksum) == (identity, key, "new")
        assert repository.get_source(session, folder + APART).id == identity
    with pytest.raises(BadInputError, match="rename one"), database.session() as session:
        repository.register_source(session, folder + COMPOSED, checksum="other")
