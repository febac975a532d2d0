"""Checks of `brand_report`: what an analyst bills by cannot be impossible.

Belongs here: reading the stored report. The rules are in `touchline/checks.py`.
"""

import json
from collections.abc import Iterator

import dagster as dg

from detection_assets.checks.outputs import result, source_of, spec, wanted
from resources.storage import Connection, Storage
from touchline.checks import RuleResult, exposure_fits, intervals_in_order
from touchline.errors import CheckpointError
from touchline.library import repository
from touchline.library.tables import SourceAsset
from touchline.nodes import REPORT

RULES = {"exposure_fits_the_video": exposure_fits, "intervals_in_order": intervals_in_order}


@dg.multi_asset_check(
    name="brand_report_checks",
    can_subset=True,
    specs=[
        spec(
            REPORT,
            "exposure_fits_the_video",
            "No brand is on screen, in all or in one zone, for longer than the video lasts, nor alone for longer than "
            "at all.",
            blocking=False,
        ),
        spec(
            REPORT,
            "intervals_in_order",
            "Every brand's intervals rise, do not overlap, lie between 0 and the video's end, and add up to its "
            "seconds.",
            blocking=False,
        ),
    ],
)
def brand_report_checks(context: dg.AssetCheckExecutionContext, storage: Storage) -> Iterator[dg.AssetCheckResult]:
    """Reads `report.json` as it lies in the store."""
    connection = storage.connect()
    key = _report_key(context, connection, source_of(context, connection))
    try:
        report = json.loads(connection.objects.get(key))
        verdicts = {name: rule(report) for name, rule in RULES.items()}
    except (CheckpointError, ValueError, KeyError, TypeError) as error:
        why = RuleResult(False, f"{key} cannot be read ({error}); materialize brand_report again", {"report": key})
        verdicts = dict.fromkeys(RULES, why)
    results = {
        name: result(REPORT, name, RuleResult(v.passed, v.message, {"report": key, **v.compared}, v.severe))
        for name, v in verdicts.items()
    }
    yield from wanted(context, results)


def _report_key(context: dg.AssetCheckExecutionContext, connection: Connection, source: SourceAsset) -> str:
    """Of this run's job; for a check that is run by itself, of the newest job with a report."""
    with connection.database.session() as session:
        job = repository.job_of_run(session, context.run.run_id, source.id)
        if job is None or not job.report_prefix:
            job = repository.reported_job(session, source.id)
    if job is None:
        raise CheckpointError(f"{source.partition_key} has no report yet; materialize brand_report first")
    return job.report_prefix + "report.json"


CHECKS = (brand_report_checks,)
