"""Checks of `brand_report`: its seconds and intervals are consistent with the video.

Belongs here: reading the stored report. The rules are in `touchline/checks.py`.
"""

import json
from collections.abc import Iterator

import dagster as dg

from detection_assets.checks.outputs import result, selected, source_of, spec
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
            "No brand is on screen for longer than the video lasts, in total or in one zone. Its exclusive time is "
            "not longer than its total time.",
            blocking=False,
        ),
        spec(
            REPORT,
            "intervals_in_order",
            "The intervals of each brand are in ascending order, do not overlap, lie between 0 and the end of the "
            "video, and add up to its seconds.",
            blocking=False,
        ),
    ],
)
def brand_report_checks(context: dg.AssetCheckExecutionContext, storage: Storage) -> Iterator[dg.AssetCheckResult]:
    """Reads the stored `report.json`."""
    connection = storage.connect()
    key = _report_key(context, connection, source_of(context, connection))
    try:
        report = json.loads(connection.objects.get(key))
        outcomes = {name: rule(report) for name, rule in RULES.items()}
    except (CheckpointError, ValueError, KeyError, TypeError) as error:
        failure = RuleResult(False, f"{key} cannot be read ({error}); materialize brand_report again", {"report": key})
        outcomes = dict.fromkeys(RULES, failure)
    results = {
        name: result(REPORT, name, RuleResult(v.passed, v.message, {"report": key, **v.compared}, v.severe))
        for name, v in outcomes.items()
    }
    yield from selected(context, results)


def _report_key(context: dg.AssetCheckExecutionContext, connection: Connection, source: SourceAsset) -> str:
    """The report.json of this run's job. For a check that runs alone: that of the newest job with a report."""
    with connection.database.session() as session:
        job = repository.job_of_run(session, context.run.run_id, source.id)
        if job is None or not job.report_prefix:
            job = repository.reported_job(session, source.id)
    if job is None:
        raise CheckpointError(f"{source.partition_key} has no report yet; materialize brand_report first")
    return job.report_prefix + "report.json"


CHECKS = (brand_report_checks,)
