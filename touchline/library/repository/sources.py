"""Sources: one row for each video or image, with the metadata of its content.

Belongs here: rows of `source_assets`. Ids and keys are made in `touchline/library/naming.py`.
"""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

import sqlalchemy as sa
from rapidfuzz import fuzz, process, utils
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from touchline.errors import BadInputError
from touchline.library.naming import composed, library_path, partition_key, source_asset_id
from touchline.library.repository.json_values import plain_text
from touchline.library.tables import DEFAULT_PROFILE, SourceAsset, SourceState

LISTED: Final = 5
"""Maximum number of sources that an error message names."""
ALIKE: Final = 75.0
"""Minimum similarity (`rapidfuzz.fuzz.ratio`, 0-100) of a name that an error message suggests."""


def register_source(
    session: Session,
    video_path: str,
    *,
    checksum: str = "",
    content_mark: str = "",
    duration: float | None = None,
    fps: float | None = None,
    size: int | None = None,
    width: int | None = None,
    height: int | None = None,
    profile_name: str = DEFAULT_PROFILE,
    state: SourceState = SourceState.ACCEPTED,
    rejection_reason: str = "",
) -> SourceAsset:
    """Creates or updates the row of the source at `video_path` (its library path), and returns it.

    `duration` is in seconds, `size` in bytes, `width` and `height` in pixels. New content under the same path is the
    same source with a new checksum. Values that are not given are kept while the checksum is the same.
    Raises BadInputError for an invalid path, or if another path has the same partition key.
    """
    identity, key = source_asset_id(video_path), partition_key(video_path)
    if (older := _of_composed_path(session, video_path)) is not None:
        identity, key = older.id, older.partition_key
    found = insert(SourceAsset).values(id=identity, partition_key=key, video_path=video_path)
    session.execute(found.on_conflict_do_nothing())
    source = session.get(SourceAsset, identity, with_for_update=True, populate_existing=True)
    if source is None:
        raise BadInputError(f"{video_path} has the partition key {key} of another source; rename the file")
    if source.video_path != video_path:
        raise BadInputError(
            f"{video_path} differs from the source {source.video_path!r} only in how accents are written; rename one"
        )
    changed = bool(checksum) and checksum != source.checksum
    source.checksum = checksum or source.checksum
    source.content_mark = content_mark or ("" if changed else source.content_mark)
    source.profile_name = profile_name
    source.state = state
    source.rejection_reason = plain_text(rejection_reason)
    source.duration = duration if duration is not None or changed else source.duration
    source.fps = fps if fps is not None or changed else source.fps
    source.size = size if size is not None or changed else source.size
    source.width = width if width is not None or changed else source.width
    source.height = height if height is not None or changed else source.height
    session.flush()
    return source


def note_content_mark(session: Session, video_path: str, checksum: str, content_mark: str) -> None:
    """Stores the content mark of a file whose content has the registered checksum."""
    same = (SourceAsset.video_path == video_path) & (SourceAsset.checksum == checksum)
    session.execute(sa.update(SourceAsset).where(same).values(content_mark=content_mark))


def find_source(session: Session, key_or_path: str) -> SourceAsset | None:
    """The source with that partition key, id (as text) or library path, or None."""
    by_key = session.scalar(sa.select(SourceAsset).where(SourceAsset.partition_key == key_or_path))
    if by_key is not None:
        return by_key
    try:
        identity = uuid.UUID(key_or_path)
    except ValueError:
        try:
            identity = source_asset_id(key_or_path)
            older = _of_composed_path(session, key_or_path)
        except BadInputError:
            return None
        if older is not None:
            return older
    return session.get(SourceAsset, identity) or _spelled_otherwise(session, key_or_path)


def _of_composed_path(session: Session, path: str) -> SourceAsset | None:
    """The source of this path if its id was made from the composed form of the path, else None."""
    normal = composed(path)
    if normal == path:
        return None
    found = session.get(SourceAsset, source_asset_id(normal))
    return found if found is not None and found.video_path == path else None


def _spelled_otherwise(session: Session, path: str) -> SourceAsset | None:
    """The source whose path differs in the Unicode form alone; None if there are several."""
    same = sa.func.normalize(SourceAsset.video_path, sa.text("NFC")) == unicodedata.normalize("NFC", path)
    found = session.scalars(sa.select(SourceAsset).where(same).limit(2)).all()
    return found[0] if len(found) == 1 else None


def get_source(session: Session, key_or_path: str) -> SourceAsset:
    """As `find_source`. Raises BadInputError if there is none."""
    source = find_source(session, key_or_path)
    if source is None:
        raise BadInputError(
            f"no source {key_or_path!r} is known; expected a partition key or the path of a registered video; "
            "`touchline sources` lists them"
        )
    return source


def named_source(session: Session, text: str) -> SourceAsset:
    """The source that a user names, as the first match of: partition key, id, library path, path relative to the
    working directory, unique prefix of a partition key.

    Raises BadInputError if none matches (naming similar ones) or if several keys have the prefix (naming them).
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInputError(f"{text!r} is not valid UTF-8; expected a partition key or the path of a video") from error
    if source := find_source(session, text):
        return source
    if text and "://" not in text and (source := _at(session, text)):
        return source
    head = text.rstrip("\N{HORIZONTAL ELLIPSIS}.").lower()
    if head:
        query = sa.select(SourceAsset).where(SourceAsset.partition_key.startswith(head, autoescape=True))
        found = list(session.scalars(query.order_by(SourceAsset.partition_key)))
        if len(found) == 1:
            return found[0]
        if found:
            raise BadInputError(f"{text!r} is the beginning of {_listed([one.partition_key for one in found])}")
    raise BadInputError(f"no source {text!r} is known; {_advice(session, text)}")


def _at(session: Session, path: str) -> SourceAsset | None:
    """The source whose file is at a path relative to the working directory."""
    try:
        return session.get(SourceAsset, source_asset_id(library_path(path)))
    except (BadInputError, RuntimeError):
        # An unknown home directory, or a loop of links.
        return None


def _advice(session: Session, text: str) -> str:
    rows = session.execute(sa.select(SourceAsset.partition_key, SourceAsset.video_path)).all()
    names = {key: key.rpartition("-")[0] for key, _ in rows}
    by_name: dict[str, str] = {}
    for key, path in rows:
        by_name |= {key: key, names[key]: key, PurePosixPath(path).name: key, PurePosixPath(path).stem: key}
    meant = PurePosixPath(text).name or text
    alike = process.extract(
        meant, list(by_name), scorer=fuzz.ratio, processor=utils.default_process, score_cutoff=ALIKE, limit=4 * LISTED
    )
    keys = list(dict.fromkeys(by_name[name] for name, _, _ in alike))
    if keys:
        return f"did you mean {_listed(keys, 'or')}?"
    return (
        "expected a partition key, the beginning of one, or the path of a registered video; `touchline sources` lists "
        "them"
    )


def _listed(keys: Sequence[str], joint: str = "and") -> str:
    shown = [*keys[:LISTED], *([f"{len(keys) - LISTED} more"] if len(keys) > LISTED else [])]
    return f" {joint} ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def list_sources(session: Session) -> list[SourceAsset]:
    """All sources, by partition key."""
    return list(session.scalars(sa.select(SourceAsset).order_by(SourceAsset.partition_key)))
