"""Shared by the asset checks: resolving the checkpoint, reading it in one pass, and making Dagster's results.

Belongs here: the way from a check's context to documents, and from a rule's outcome to an `AssetCheckResult`. The rules
are in `touchline/checks.py`. https://docs.dagster.io/guides/test/asset-checks
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

import dagster as dg

from detection_assets.execution.registry import STAGES
from detection_assets.metadata.markdown import bullets, plain
from detection_assets.partitions import sources
from resources.storage import Connection
from touchline.checks import RuleResult
from touchline.errors import CheckpointError
from touchline.library import repository
from touchline.library.tables import SourceAsset, StageCheckpoint

INTACT: Final = "output_intact"
"""Name of the check that a stored output is undamaged."""
LONGEST: Final = 2000
"""Most characters of a result's description, which Dagster shows as Markdown."""

T = TypeVar("T")


def spec(stage: str, name: str, description: str, *, blocking: bool) -> dg.AssetCheckSpec:
    """A check of one asset, partitioned by source."""
    with warnings.catch_warnings():
        # Dagster warns that partitioned checks are a preview; the user cannot act on it.
        warnings.filterwarnings("ignore", category=dg.PreviewWarning)
        return dg.AssetCheckSpec(name, asset=stage, description=description, blocking=blocking, partitions_def=sources)


def intact_spec(stage: str) -> dg.AssetCheckSpec:
    """The check `output_intact` of a stage. It blocks: downstream stages cannot read a damaged output."""
    text = "The stored output exists, is complete, and has the size, SHA-256, format and document count of its row."
    return spec(stage, INTACT, text, blocking=True)


def row_of(context: dg.AssetCheckExecutionContext, connection: Connection, stage: str) -> StageCheckpoint:
    """This run's checkpoint; for a check that runs alone, the newest one. Raises CheckpointError if there is none."""
    with connection.database.session() as session:
        source = repository.get_source(session, context.partition_key)
        job = repository.job_of_run(session, context.run.run_id, source.id)
        row, _ = repository.resolve_checkpoint(session, source.id, stage, job_id=job.id if job else None)
        return row


def source_of(context: dg.AssetCheckExecutionContext, connection: Connection) -> SourceAsset:
    """The source of this partition."""
    with connection.database.session() as session:
        return repository.get_source(session, context.partition_key)


def examine(
    connection: Connection, row: StageCheckpoint, consume: Callable[[Iterator[Any]], T]
) -> tuple[dg.AssetCheckResult, T | None]:
    """Reads a checkpoint once. Returns the result of `output_intact`, and what `consume` returns for its documents.

    The second value is None if the checkpoint is damaged. Size and SHA-256 are those of the stored object.
    """
    compared = {
        "key": row.stage_output_key,
        "expected_bytes": row.stage_output_size,
        "expected_sha256": row.stage_output_sha256,
        "expected_documents": row.item_count,
    }
    count = 0

    def counted(documents: Iterator[Any]) -> Iterator[Any]:
        nonlocal count
        for document in documents:
            count += 1
            yield document

    try:
        documents = counted(map(STAGES[row.stage].module.deserialize, connection.checkpoints.read(row)))
        found = consume(documents)
        for _ in documents:
            pass
    except CheckpointError as error:
        return result(row.stage, INTACT, RuleResult(False, str(error), compared)), None
    outcome = RuleResult(count == row.item_count, f"{count} documents, {row.stage_output_size} bytes", compared)
    return result(row.stage, INTACT, outcome), found


def result(stage: str, name: str, outcome: RuleResult) -> dg.AssetCheckResult:
    """A rule's outcome as an `AssetCheckResult`; the compared values are its metadata."""
    return dg.AssetCheckResult(
        asset_key=dg.AssetKey(stage),
        check_name=name,
        passed=outcome.passed,
        severity=dg.AssetCheckSeverity.ERROR if outcome.severe else dg.AssetCheckSeverity.WARN,
        description=plain(outcome.message, LONGEST),
        metadata=compared_metadata(outcome.compared),
    )


def judged(
    context: dg.AssetCheckExecutionContext,
    connection: Connection,
    row: StageCheckpoint,
    name: str,
    consume: Callable[[Iterator[Any]], T],
    rule: Callable[[T], RuleResult],
) -> Iterator[dg.AssetCheckResult]:
    """The results of `output_intact` and of the check `name`, from one pass over a checkpoint.

    `rule` gets what `consume` returns for the documents. If they cannot be read, the check `name` fails as well.
    """
    intact, found = examine(connection, row, consume)
    unread = RuleResult(False, f"not evaluated: the output of {row.stage} cannot be read, see {INTACT}")
    own = result(row.stage, name, unread if found is None else rule(found))
    yield from selected(context, {INTACT: intact, name: own})


def selected(
    context: dg.AssetCheckExecutionContext, results: Mapping[str, dg.AssetCheckResult]
) -> Iterator[dg.AssetCheckResult]:
    """The results of the checks that this run selected."""
    for key in sorted(context.selected_asset_check_keys, key=lambda k: k.name):
        yield results[key.name]


def compared_metadata(compared: Mapping[str, Any]) -> dict[str, Any]:
    """Compared values as metadata; lists become bullet points."""
    return {name: bullets(map(str, value)) if isinstance(value, list) else value for name, value in compared.items()}
