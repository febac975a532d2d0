"""What Dagster does not promise is used in one folder, and each such name still is what it was.

The second half asks Dagster's own objects, so that a newer Dagster makes it fail where a name, a signature or a meaning
has changed.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import uvicorn
import yaml
from dagster._core.definitions.data_version import DATA_VERSION_TAG as DATA_VERSION
from dagster._core.definitions.data_version import INPUT_EVENT_POINTER_TAG_PREFIX
from dagster._core.definitions.metadata.metadata_set import TableMetadataSet, UriMetadataSet
from dagster._core.storage import tags as dagsters
from dagster._core.telemetry_upload import is_running_in_test
from dagster._core.test_utils import create_run_for_test
from dagster._serdes import ConfigurableClassData, class_from_code_pointer
from dagster._utils import warnings as dagsters_warnings
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage

from detection_assets.dagster_internals import clients, daemon, storage, tags, telemetry, webserver
from detection_assets.dagster_internals.failures import DagsterPostgresError, Failure, failure_in, failure_of
from detection_assets.dagster_internals.runs import (
    begin_cancel,
    cancel_run,
    fail_run,
    job_of,
    notes_code_servers,
    runs_where,
    tag_run,
)
from detection_assets.dagster_internals.silence import silence_dagster
from io_managers.checkpoint_io_manager import stored_metadata
from resources.leases import LeaseLostError
from tests.support.dagster_names import in_lines, in_python, uses_in
from touchline_cli.webserver import version_of

ROOT = Path(__file__).resolve().parent.parent.parent
ROOM = ROOT / "detection_assets" / "dagster_internals"
PRODUCT = ("touchline", "resources", "io_managers", "detection_assets", "webapp", "touchline_cli", "migrations")
IN_TESTS = 130
"""Uses in tests, at most: they make runs and events that a running Dagster makes by itself."""


# One folder


def test_what_dagster_does_not_promise_is_used_in_one_folder() -> None:
    files = [path for package in PRODUCT for kind in ("py", "yaml") for path in (ROOT / package).rglob(f"*.{kind}")]
    files += [*ROOT.glob("*.yaml"), ROOT / "pyproject.toml"]
    assert len(files) > 200
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sorted(files)
        if ROOM not in path.parents
        for line, name in uses_in(path)
    ]
    assert not found, "these belong in detection_assets/dagster_internals/:\n" + "\n".join(found)


def test_tests_use_no_more_of_it_than_they_did() -> None:
    found = [use for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__) for use in uses_in(path)]
    assert len(found) <= IN_TESTS


@pytest.mark.parametrize(
    "line",
    [
        "import dagster._core.events",
        "from dagster._core.errors import DagsterError",
        "from dagster import _check as check",
        "from dagster_shared.error import SerializableErrorInfo",
        "from dagster_webserver.app import create_app_from_workspace_process_context",
        "self.instance.event_log_storage.get_pool_limits()",
        "DagsterInstance.from_ref(ref)",
        "context.step_context.instance",
        "event.step_failure_data.error",
        "build_defs().resolve_job_def('job')",
        "os.environ['DAGSTER_DISABLE_TELEMETRY'] = '1'",
        "TAG = 'dagster/priority'",
        "tags = {'.dagster/grpc_info': ''}",
        "start('dagster._daemon', 'run')",
        "message.startswith('This run has been marked as failed from outside the execution context')",
    ],
)
def test_each_kind_of_use_is_found(line: str) -> None:
    assert list(in_python(line))


def test_public_names_docstrings_and_comments_are_no_uses() -> None:
    text = '"""See dagster._core and dagster/priority."""\n'
    text += "from dagster_postgres import PostgresRunStorage\nfrom dagster import DagsterInstance\n"
    text += "instance.get_run_by_id(context.run.run_id)\nmodule = 'dagster.core.launcher'\n"
    assert list(in_python(text)) == []
    assert list(in_lines("module: dagster.core.launcher  # not dagster._core\n")) == []
    assert list(in_lines("module: dagster._core.launcher\n")) == [(1, "module: dagster._core.launcher")]


# Names of tags


def test_tags_are_called_what_dagster_calls_them() -> None:
    assert tags.PRIORITY_TAG == dagsters.PRIORITY_TAG
    assert tags.PARTITION_TAG == dagsters.PARTITION_NAME_TAG
    assert tags.PARENT_RUN_TAG == dagsters.PARENT_RUN_ID_TAG
    assert tags.RUN_KEY_TAG == dagsters.RUN_KEY_TAG
    assert tags.RETRY_STRATEGY_TAG == dagsters.RETRY_STRATEGY_TAG
    assert tags.LAUNCHER_TAG == dagsters.GRPC_INFO_TAG
    assert tags.DATA_VERSION_TAG == DATA_VERSION
    assert tags.INPUT_POINTER_TAG == INPUT_EVENT_POINTER_TAG_PREFIX
    assert tags.PROCESS_TAG.startswith(dagsters.HIDDEN_TAG_PREFIX)


def test_the_tags_of_a_materialization_are_those_that_dagster_writes() -> None:
    @dg.asset
    def first() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(data_version=dg.DataVersion("one"))

    @dg.asset(deps=[first])
    def second() -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([first, second], instance=instance).success
        [made] = instance.fetch_materializations(dg.AssetKey("first"), limit=1).records
        [later] = instance.fetch_materializations(dg.AssetKey("second"), limit=1).records
    assert (made.event_log_entry.tags or {})[tags.DATA_VERSION_TAG] == "one"
    assert (later.event_log_entry.tags or {})[f"{tags.INPUT_POINTER_TAG}/first"] == str(made.storage_id)


def test_the_entries_of_metadata_that_are_written_are_those_that_dagster_reads() -> None:
    known = {**TableMetadataSet(row_count=3, partition_row_count=3), **UriMetadataSet(uri="s3://bucket/key")}
    assert stored_metadata("s3://bucket/key", 3).keys() == known.keys()


# Runs and their ends


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def status_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def test_runs_are_found_tagged_and_ended(instance: dg.DagsterInstance) -> None:
    first, second = (create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED) for _ in range(2))
    tag_run(instance, second.run_id, {"of": "ours"})
    tag_run(instance, second.run_id, {"of": "hers"})
    assert [run.run_id for run in runs_where(instance, dg.RunsFilter(tags={"of": "hers"}))] == [second.run_id]
    assert [run.run_id for run in runs_where(instance, dg.RunsFilter())] == [second.run_id, first.run_id]
    assert len(runs_where(instance, dg.RunsFilter(), limit=1)) == 1
    begin_cancel(instance, first, "somebody asked")
    assert status_of(instance, first) is dg.DagsterRunStatus.CANCELING
    cancel_run(instance, first, "it is gone")
    assert status_of(instance, first) is dg.DagsterRunStatus.CANCELED
    fail_run(instance, second, "process 7 ended without reporting an error")
    assert status_of(instance, second) is dg.DagsterRunStatus.FAILURE
    assert not notes_code_servers(instance)


def test_a_job_over_assets_becomes_one_that_can_be_executed(instance: dg.DagsterInstance) -> None:
    @dg.asset
    def only() -> None: ...

    definitions = dg.Definitions(assets=[only], jobs=[dg.define_asset_job("one", executor_def=dg.in_process_executor)])
    assert job_of(definitions, "one").execute_in_process(instance=instance).success


def test_the_end_of_a_run_is_heard_once_and_what_fails_then_does_not_fail_it(
    instance: dg.DagsterInstance,
) -> None:
    run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    heard: list[str] = []

    def tell() -> None:
        heard.append(run.run_id)
        raise ValueError

    storage.on_run_end(instance, run.run_id, tell)
    instance.report_engine_event("nothing of importance", run)
    assert heard == []
    fail_run(instance, run, "it is gone")
    assert heard == [run.run_id]


# Why a run failed


def test_what_we_say_of_a_run_is_its_whole_message_whatever_event_stands_before(instance: dg.DagsterInstance) -> None:
    run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    instance.report_engine_event("Started process for run", run)
    fail_run(instance, run, "process 7 ended without reporting an error")
    assert failure_of(instance, run.run_id) == Failure("process 7 ended without reporting an error", False, True)


def test_of_a_run_that_dagster_fails_the_engine_event_before_tells_the_cause(
    instance: dg.DagsterInstance,
) -> None:
    run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    instance.report_engine_event("exited with code -9", run)
    instance.report_run_failed(run)
    failure = failure_of(instance, run.run_id)
    assert failure.message.endswith(": exited with code -9") and failure.external


def test_an_engine_event_long_before_is_not_the_cause(instance: dg.DagsterInstance) -> None:
    run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    instance.report_engine_event("Started process for run", run)
    begin_cancel(instance, run, "too long")
    instance.report_run_failed(run, "Exceeded maximum runtime of 60 seconds.")
    assert failure_of(instance, run.run_id).message == "Exceeded maximum runtime of 60 seconds."


def result_of(instance: dg.DagsterInstance, work: Callable[[], None]) -> dg.ExecuteInProcessResult:
    @dg.op
    def only() -> None:
        work()

    @dg.job(executor_def=dg.in_process_executor)
    def one() -> None:
        only()

    return one.execute_in_process(instance=instance, raise_on_error=False)


def raising(*errors: BaseException) -> Callable[[], None]:
    def work() -> None:
        error, *causes = errors
        raise error from (causes[0] if causes else None)

    return work


POSTGRES = DagsterPostgresError("too many retries")


@pytest.mark.parametrize(
    ("work", "message", "interrupted", "outside"),
    [
        (raising(ValueError("the lights went out")), "the lights went out", False, False),
        (raising(RuntimeError("told"), ValueError("the lights went out")), "told", False, False),
        (raising(LeaseLostError("another does it")), "another does it", False, True),
        (raising(POSTGRES), "too many retries", False, True),
        (raising(RuntimeError("cannot be read"), POSTGRES), "cannot be read", False, True),
        (raising(dg.DagsterExecutionInterruptedError()), "", True, True),
        (raising(RuntimeError("named DagsterExecutionInterruptedError")), "named", False, False),
    ],
)
def test_a_failed_step_is_judged_by_the_classes_of_its_errors(
    instance: dg.DagsterInstance, work: Callable[[], None], message: str, interrupted: bool, outside: bool
) -> None:
    result = result_of(instance, work)
    for failure in (failure_in(result.all_events), failure_of(instance, result.run_id)):
        assert message in failure.message
        assert (failure.interrupted, failure.external) == (interrupted, outside)


# What is said and sent


def test_dagsters_warnings_of_what_is_new_are_silenced_and_those_of_what_goes_are_not() -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        silence_dagster()
        dagsters_warnings.beta_warning("A part")
        dagsters_warnings.preview_warning("A part")
        dagsters_warnings.deprecation_warning("A part", "2.0")
    assert [type(warning.message) for warning in heard] == [DeprecationWarning]


def test_dagster_uploads_nothing_where_its_variable_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BUILDKITE", "TF_BUILD", *telemetry.OFF):
        monkeypatch.delenv(name, raising=False)
    assert not is_running_in_test()
    for name, value in telemetry.OFF.items():
        monkeypatch.setenv(name, value)
    assert is_running_in_test()


# The database


def test_the_storages_are_asked_what_is_remembered_and_hold_connections_as_before() -> None:
    asked = [(PostgresRunStorage, storage.CACHED_OF_RUNS), (PostgresEventLogStorage, storage.CACHED_OF_EVENTS)]
    for kind, names in asked:
        for name in names:
            method = inspect.getattr_static(kind, name)
            assert inspect.isfunction(method), f"{kind.__name__}.{name}"
            assert inspect.signature(method).return_annotation in (bool, "bool"), f"{kind.__name__}.{name}"
    wanted = ["self", "statement_timeout", "pool_recycle", "max_overflow"]
    for holder in (PostgresRunStorage, PostgresEventLogStorage, dg.DagsterInstance):
        assert list(inspect.signature(holder.optimize_for_webserver).parameters) == wanted
    assert callable(PostgresRunStorage.connect) and callable(PostgresEventLogStorage.index_connection)


def test_an_instance_that_is_not_on_postgres_is_left_alone_and_closes(instance: dg.DagsterInstance) -> None:
    storage.keep_connections(instance)
    storage.close(instance)


# Homes, servers and commands


def test_a_home_is_opened_with_its_own_settings_and_captures_no_output(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\nrun_queue: {max_concurrent_runs: 7}\n")
    with clients.open_instance(tmp_path) as instance:
        assert instance.root_directory == str(tmp_path)
        assert type(instance.compute_log_manager).__name__ == "NoOpComputeLogManager"
        assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 7  # type: ignore[union-attr]
        assert notes_code_servers(instance)
    assert (tmp_path / "dagster.yaml").is_file()


def test_the_classes_that_dagster_yaml_names_are_there() -> None:
    named: list[tuple[str, str]] = []

    def collect(part: Any) -> None:
        if isinstance(part, dict):
            if {"module", "class"} <= part.keys():
                named.append((part["module"], part["class"]))
            for value in part.values():
                collect(value)

    collect(yaml.safe_load((ROOT / "dagster.yaml").read_text("utf-8")))
    collect(clients.UNCAPTURED)
    assert len(named) >= 4
    for module, name in named:
        # As Dagster reads it: the documented spelling of a module is not the one that Python imports.
        data = ConfigurableClassData(module, name, "")
        assert inspect.isclass(class_from_code_pointer(data.module_name, data.class_name)), f"{module}.{name}"


def test_dagsters_webserver_is_an_app_that_tells_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, workspace = tmp_path / "home", tmp_path / "workspace.yaml"
    home.mkdir()
    workspace.write_text(json.dumps({"load_from": []}))
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with webserver.dagster_app(workspace) as app:
        paths = {getattr(route, "path", "") for route in app.routes}  # type: ignore[attr-defined]
        assert set(webserver.NOTEBOOKS) <= paths
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        thread.start()
        try:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            assert version_of(url, {}, timeout_s=30) == dg.__version__
        finally:
            server.should_exit = True
            thread.join()


def test_nobody_answers_on_a_socket_that_is_not_there(tmp_path: Path) -> None:
    assert not webserver.code_server_answers(tmp_path / "grpc")


def test_the_daemon_has_its_command() -> None:
    assert callable(daemon.command())
