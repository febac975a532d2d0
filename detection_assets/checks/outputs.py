"""What the checks of all nodes share: which checkpoint is checked, and reading it in one pass.

Belongs here: going from a check's context to documents, and from rules to Dagster's results. The rules are in
`touchline/checks.py`. https://docs.dagster.io/guides/test/asset-checks
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
LONGEST: Final = 2000
"""Characters of a result's description, which Dagster shows as Markdown."""

T = TypeVar("T")


def spec(stage: str, name: str, description: str, *, blocking: bool) -> dg.AssetCheckSpec:
    """A check on one node, one result for each source."""
    with warnings.catch_warnings():
        # Dagster says of partitioned checks that they are new; the user can do nothing about it.
        warnings.filterwarnings("ignore", category=dg.PreviewWarning)
        return dg.AssetCheckSpec(name, asset=stage, description=description, blocking=blocking, partitions_def=sources)


def intact_spec(stage: str) -> dg.AssetCheckSpec:
    """The check that every node has. It blocks: the stages after it could not read a damaged blob anyway."""
    text = (
        "The stored output is there, whole, and has the size, SHA-256, form and number of documents that its row says."
    )
    return spec(stage, INTACT, text, blocking=True)


def row_of(context: dg.AssetCheckExecutionContext, connection: Connection, stage: str) -> StageCheckpoint:
    """This run's checkpoint; for a check that is run by itself, the newest. Raises CheckpointError if there is none."""
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
    """Reads a checkpoint from the store once: whether it is intact, and what `consume` made of its documents.

    Nothing where it is damaged. Size and SHA-256 are those of the object as it lies in the store now.
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
    """The result of a rule as Dagster's; the compared values are its metadata."""
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
    """The results of a stage's own rule and of `output_intact`, in one pass over a checkpoint: what `consume` made of
    its documents is what the `rule` called `name` judges.
    """
    intact, found = examine(connection, row, consume)
    own = unreadable(row.stage, name) if found is None else result(row.stage, name, rule(found))
    yield from wanted(context, {INTACT: intact, name: own})


def unreadable(stage: str, name: str) -> dg.AssetCheckResult:
    """The result of a rule that could not be judged: the output is damaged, as the check beside it says."""
    return result(stage, name, RuleResult(False, f"not judged: the output of {stage} cannot be read, see {INTACT}"))


def wanted(
    context: dg.AssetCheckExecutionContext, results: Mapping[str, dg.AssetCheckResult]
) -> Iterator[dg.AssetCheckResult]:
    """Those of the results that this run asked for."""
    for key in sorted(context.selected_asset_check_keys, key=lambda k: k.name):
        yield results[key.name]


def compared_metadata(compared: Mapping[str, Any]) -> dict[str, Any]:
    """Values as metadata: lists become bullet points."""
    return {name: bullets(map(str, value)) if isinstance(value, list) else value for name, value in compared.items()}
