"""Known brands, and the sources in which each was detected.

Belongs here: rows of `known_brands` and `source_brand_sightings`. Matching of texts is in `touchline/brands/`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from touchline.brands.claims import Known, given_up
from touchline.brands.registry import BrandBook, BrandEntry, same_to_the_matcher, shipped
from touchline.brands.text import fold
from touchline.library.repository.json_values import plain_text
from touchline.library.tables import BrandSource, KnownBrand, SourceBrandSighting

IMPORTS: Final = 0x746F7563_6272616E
"""Number of the advisory lock under which lists of brands are imported ("toucbran" in ASCII)."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A brand that one run detected in one source. Times are in seconds from the start, the confidence is 0 to 1."""

    brand_id: uuid.UUID
    brand_name: str
    first_seen_timestamp: float
    last_seen_timestamp: float
    occurrences: int
    detection_source: BrandSource = BrandSource.OCR
    avg_confidence: float = 0.0


@lru_cache(maxsize=1)
def _shipped_book() -> BrandBook:
    return BrandBook.from_entries(shipped())


def load_shipped_brands(session: Session) -> int:
    """Registers the shipped brands that are not known yet and returns their number. Known brands are not changed."""
    # Called by every run. Ids are compared as text: converting them to UUIDs takes longer than the query.
    there = set(session.scalars(sa.select(sa.cast(KnownBrand.id, sa.Text))))
    new = [entry for entry in _shipped_book() if entry.id not in there]
    if not new:
        return 0
    # A spelling that a user assigned to another brand is left out.
    theirs = {fold(s).letters for one in _known(session) for s in (one.name, *one.aliases)} if there else set()
    missing = [
        {
            "id": uuid.UUID(entry.id),
            "canonical_name": entry.name,
            "aliases": [alias for alias in entry.aliases if fold(alias).letters not in theirs],
            "first_source": BrandSource.MANUAL,
        }
        for entry in new
    ]
    statement = insert(KnownBrand).values(missing).on_conflict_do_nothing().returning(KnownBrand.id)
    return len(session.scalars(statement).all())


def upsert_brands(
    session: Session,
    entries: Iterable[BrandEntry],
    *,
    source: BrandSource = BrandSource.MANUAL,
    confirmed: bool = True,
    tell: Callable[[str], None] | None = None,
) -> tuple[int, int]:
    """Adds brands, or the missing aliases of known brands. Returns the numbers of (added, changed) brands.

    Names that differ in case or accents alone are one brand, which keeps its name. `confirmed` marks the brands as
    confirmed by a user; false never removes the mark.

    An alias of another brand moves to the listed brand, and `tell` gets a sentence about it. Raises BadInputError,
    before any change, if the alias is the other brand's name (see `given_up`).
    """
    entries = list(BrandBook.from_entries(entries))
    # One import at a time: two lists may claim the same spelling.
    session.execute(sa.select(sa.func.pg_advisory_xact_lock(IMPORTS)))
    for loser, aliases in sorted(given_up(entries, _known(session), tell or (lambda _: None)).items()):
        row = session.get_one(KnownBrand, uuid.UUID(loser), with_for_update=True, populate_existing=True)
        row.aliases = [alias for alias in row.aliases if alias not in aliases]
    session.flush()
    added = changed = 0
    # Rows are locked in the order of their ids, so that concurrent transactions cannot deadlock.
    for entry in sorted(entries, key=lambda item: item.id):
        identity = uuid.UUID(entry.id)
        new = insert(KnownBrand).values(
            id=identity,
            canonical_name=entry.name,
            aliases=list(entry.aliases),
            first_source=source,
            confirmed=confirmed,
        )
        if session.scalar(new.on_conflict_do_nothing().returning(KnownBrand.id)) is not None:
            added += 1
            continue
        brand = session.get_one(KnownBrand, identity, with_for_update=True, populate_existing=True)
        known = {same_to_the_matcher(spelling) for spelling in (brand.canonical_name, *brand.aliases)}
        more = [alias for alias in (entry.name, *entry.aliases) if same_to_the_matcher(alias) not in known]
        if more or (confirmed and not brand.confirmed):
            brand.aliases = [*brand.aliases, *more]
            brand.confirmed = brand.confirmed or confirmed
            changed += 1
    session.flush()
    return added, changed


def _known(session: Session) -> list[Known]:
    """All known brands, for comparing spellings."""
    columns = sa.cast(KnownBrand.id, sa.Text), KnownBrand.canonical_name, KnownBrand.aliases
    rows = session.execute(sa.select(*columns).order_by(KnownBrand.id))
    return [Known(identity, name, tuple(aliases)) for identity, name, aliases in rows]


def list_brands(session: Session, *, confirmed: bool | None = None) -> list[KnownBrand]:
    """Known brands, by case-folded name; optionally only the confirmed or the unconfirmed ones."""
    query = sa.select(KnownBrand)
    if confirmed is not None:
        query = query.where(KnownBrand.confirmed.is_(confirmed))
    # Not sorted by the server: its order depends on its locale.
    return sorted(session.scalars(query), key=lambda brand: (brand.canonical_name.casefold(), brand.id))


def brand_book(session: Session) -> BrandBook:
    """All known brands for the matcher. The same object is returned until a brand changes."""
    rows = session.execute(
        sa.select(sa.cast(KnownBrand.id, sa.Text), KnownBrand.canonical_name, KnownBrand.aliases)
    ).all()
    return _book(tuple(sorted((identity, name, tuple(aliases)) for identity, name, aliases in rows)))


@lru_cache(maxsize=2)
def _book(rows: tuple[tuple[str, str, tuple[str, ...]], ...]) -> BrandBook:
    """The book of these rows (id, name, aliases). Three stages of a run use it, and its version."""
    entries = [BrandEntry(*row) for row in rows]
    return BrandBook.from_entries(sorted(entries, key=lambda entry: (entry.name.casefold(), entry.id)))


def record_sightings(session: Session, source_asset_id: uuid.UUID, sightings: Iterable[Sighting]) -> None:
    """Stores the detections of a run: one row for each brand of a source, replacing that of an earlier run.

    Unknown brands are added, unconfirmed. The total occurrences of a brand are summed over its rows, so a replay counts
    nothing twice. Of two sightings of one brand the last is used.
    """
    by_brand = {sighting.brand_id: sighting for sighting in sightings}
    if not by_brand:
        return
    ordered = [by_brand[identity] for identity in sorted(by_brand)]
    session.execute(
        insert(KnownBrand)
        .values(
            [
                {
                    "id": s.brand_id,
                    "canonical_name": plain_text(s.brand_name),
                    "aliases": [],
                    "first_source": s.detection_source,
                }
                for s in ordered
            ]
        )
        .on_conflict_do_nothing()
    )
    ids = [s.brand_id for s in ordered]
    _lock_brands(session, ids)
    new = insert(SourceBrandSighting).values(
        [
            {
                "id": uuid.uuid4(),
                "source_asset_id": source_asset_id,
                "brand_id": s.brand_id,
                "brand_name": plain_text(s.brand_name),
                "first_seen_timestamp": float(s.first_seen_timestamp),
                "last_seen_timestamp": float(s.last_seen_timestamp),
                "occurrences": int(s.occurrences),
                "detection_source": s.detection_source,
                "avg_confidence": float(s.avg_confidence),
            }
            for s in ordered
        ]
    )
    names = [
        "brand_name",
        "first_seen_timestamp",
        "last_seen_timestamp",
        "occurrences",
        "detection_source",
        "avg_confidence",
    ]
    session.execute(
        new.on_conflict_do_update(
            index_elements=["source_asset_id", "brand_id"], set_={name: new.excluded[name] for name in names}
        )
    )
    _sum_occurrences(session, ids)


def delete_sightings(session: Session, source_asset_id: uuid.UUID) -> None:
    """Deletes the sightings of a source and updates the brands' totals. The brands are kept."""
    ours = SourceBrandSighting.source_asset_id == source_asset_id
    ids = list(session.scalars(sa.select(SourceBrandSighting.brand_id).where(ours)))
    _lock_brands(session, ids)
    session.execute(sa.delete(SourceBrandSighting).where(ours).execution_options(synchronize_session=False))
    _sum_occurrences(session, ids)


def _lock_brands(session: Session, ids: list[uuid.UUID]) -> None:
    """Locks brands before their totals are summed, against runs on other sources."""
    session.execute(sa.select(KnownBrand.id).where(KnownBrand.id.in_(ids)).order_by(KnownBrand.id).with_for_update())


def _sum_occurrences(session: Session, ids: list[uuid.UUID]) -> None:
    total = sa.select(sa.func.sum(SourceBrandSighting.occurrences)).where(SourceBrandSighting.brand_id == KnownBrand.id)
    session.execute(
        sa.update(KnownBrand)
        .where(KnownBrand.id.in_(ids))
        .values(total_occurrences=sa.func.coalesce(total.scalar_subquery(), 0))
        .execution_options(synchronize_session="fetch")
    )


def list_sightings(session: Session, source_asset_id: uuid.UUID) -> list[SourceBrandSighting]:
    """The sightings of a source, by falling occurrences."""
    query = sa.select(SourceBrandSighting).where(SourceBrandSighting.source_asset_id == source_asset_id)
    return list(session.scalars(query.order_by(SourceBrandSighting.occurrences.desc(), SourceBrandSighting.brand_name)))
