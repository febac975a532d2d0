"""The run config, as the launchpad shows it: settings of the stages, and settings of the run as a whole.

Belongs here: its structure, and refusing options without effect on the selected stages. It does not import Dagster, so
that commands that only query a webserver start fast. The fields are defined in the profile and in
`resources/run_settings.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from touchline.errors import BadInputError, CheckpointError
from touchline.nodes import NODE_NAMES, REPORT, downstream, upstream

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from touchline.library.tables import SourceAsset

JOB: Final = "detect_brands"
"""Name of the asset job over all assets."""
MATCHING: Final = "match_brands"
"""The stage that reads a run's list of brands."""


def refuse_unused(
    stages: Collection[str],
    *,
    overrides: Iterable[str] = (),
    brands_csv: Path | None = None,
    from_job: UUID | str | None = None,
    report: Path | None = None,
) -> None:
    """Refuses options without effect on a run of `stages`: settings ("run_ocr.min_confidence") of other stages, brands
    without `match_brands`, a report without `brand_report`, a job to read from if no checkpoint is read.

    Raises BadInputError that names the option, the stage that does not run, and the option that would run it.
    """
    named = list(overrides)
    idle = [path for path in named if path.partition(".")[0] not in stages]
    if idle:
        wanted = {path.partition(".")[0] for path in named}
        raise BadInputError(f"--set {idle[0]}: {_idle(idle[0].partition('.')[0], stages, wanted)}")
    for option, given, stage in (("--brands", brands_csv, MATCHING), ("--report", report, REPORT)):
        if given and stage not in stages:
            raise BadInputError(f"{option} {given}: {_idle(stage, stages, {stage})}")
    if from_job and NODE_NAMES[0] in stages:
        raise BadInputError(
            f"--job {from_job}: {NODE_NAMES[0]} runs, so that no checkpoint of another job is read; begin at a later "
            "stage (--from), or leave --job out"
        )


def refuse_changed_profile(
    session: Session, source: SourceAsset, given: str, stages: Collection[str], from_job: UUID | None = None
) -> None:
    """Refuses a run of `stages` whose profile differs from that of the checkpoints it reads.

    Raises BadInputError like `profile_of`, and if the `given` profile has other settings than the checkpoints of
    earlier stages, which do not run again. Fields that were overridden for those checkpoints are ignored.
    """
    from touchline.config import silently
    from touchline.library.repository import resolve_checkpoint
    from touchline.profiles import profile_of

    profile = profile_of(source.partition_key, source.profile_name, given)
    for stage in upstream(stages) if given else ():
        try:
            row, _ = resolve_checkpoint(session, source.id, stage, job_id=None, from_job=from_job)
        except CheckpointError:
            # A missing checkpoint is reported when the run reads it.
            continue
        config = profile.stage(stage)
        now = config.decisive()
        made_with, overridden = (
            type(config).renamed(values, tell=silently) for values in (row.config_snapshot, row.config_overrides)
        )
        then = {**now, **made_with, **{name: now.get(name) for name in overridden}}
        changed = sorted(name for name, value in now.items() if then[name] != value)
        if row.profile_name != given and changed:
            raise BadInputError(
                f"--profile {given}: {stage}.{changed[0]} is {now[changed[0]]!r} in it; the checkpoint of "
                f"{source.partition_key} was made with {then[changed[0]]!r}, and {_idle(stage, stages, {stage})}"
            )


def _idle(stage: str, stages: Collection[str], wanted: Collection[str]) -> str:
    """A sentence that a stage does not run, and which option would run it."""
    order = (*NODE_NAMES, REPORT)
    sentence = f"{stage} does not run; what runs is {', '.join(name for name in order if name in stages)}"
    if order.index(stage) > max(map(order.index, stages)):
        last = max(map(order.index, wanted))
        return f"{sentence}. {'Leave --until out' if last == len(order) - 1 else f'--until {order[last]}'} to run it"
    needed = {*stages, *wanted}
    first = next((name for name in reversed(NODE_NAMES) if needed <= set(downstream(name))), NODE_NAMES[0])
    return f"{sentence}. --from {first} to run it"


def run_config(
    stages: Collection[str],
    *,
    profile: str = "",
    overrides: Mapping[str, Any] | None = None,
    brands: str = "",
    fresh: bool = False,
    from_job: UUID | None = None,
) -> dict[str, Any]:
    """Dagster's run config for `stages`. Raises BadInputError for options without effect on them.

    `brands` is the reference of a stored list. A run config names no local files: see `registered_files.py`.
    """
    from touchline.profiles import by_stage

    refuse_unused(stages, overrides=overrides or (), from_job=from_job)
    settings = {"profile": profile, "fresh": fresh, "from_job": str(from_job or ""), "brands": brands}
    ops = {stage: {"config": values} for stage, values in by_stage(overrides or {}).items()}
    return {"ops": ops, "resources": {"run_settings": {"config": settings}}}


def given(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a stage's config changes. A null, which the launchpad fills in, keeps the profile's value."""
    return {name: value for name, value in config.items() if value is not None}
