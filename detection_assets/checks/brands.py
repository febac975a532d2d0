"""Check of `match_brands`: every detected brand is a known brand.

Belongs here: comparing the stored detections with the registry, or with the run's own list of brands.
"""

from collections.abc import Iterator

import dagster as dg

from detection_assets.checks.outputs import intact_spec, judged, row_of, spec
from resources.brand_lists import stored_list
from resources.run_settings import RunSettings
from resources.storage import Connection, Storage
from touchline.checks import RuleResult, brands_known, brands_of
from touchline.library import repository


@dg.multi_asset_check(
    name="match_brands_checks",
    can_subset=True,
    specs=[
        intact_spec("match_brands"),
        spec(
            "match_brands",
            "brands_known",
            "Every detected brand is in the registry of known brands or in the run's own list of brands. Sightings "
            "and reports are joined by the brand's id.",
            blocking=False,
        ),
    ],
)
def match_brands_checks(
    context: dg.AssetCheckExecutionContext, storage: Storage, run_settings: RunSettings
) -> Iterator[dg.AssetCheckResult]:
    """Compares ids, because a brand can be renamed."""
    connection = storage.connect()
    row = row_of(context, connection, "match_brands")

    def rule(found: dict[str, str]) -> RuleResult:
        return brands_known(found, _known(connection, run_settings))

    yield from judged(context, connection, row, "brands_known", brands_of, rule)


def _known(connection: Connection, settings: RunSettings) -> set[str]:
    with connection.database.session() as session:
        known = {entry.id for entry in repository.brand_book(session)}
    if settings.brands:
        known |= {entry.id for entry in stored_list(connection.objects, settings.brands)}
    return known


CHECKS = (match_brands_checks,)
