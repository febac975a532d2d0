"""Leases of runs: one holder a run, death told by the lease and never by our clock, and fencing of who lost it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import dagster as dg
import psutil
import pytest
import sqlalchemy as sa
from dagster._core.test_utils import create_run_for_test

from detection_assets.dagster_internals.tags import LAUNCHER_TAG
from detection_assets.jobs import watchdog
from detection_assets.jobs.reconcile import NEVER_STARTED, reconcile
from detection_assets.jobs.watchdog import Watchdog
from detection_assets.local.runner import Runner
from resources import leases
from resources.embedded.processes import wait_until
from resources.holders import host, process_here
from resources.leases import Lease, LeaseLostError
from tests.support.controlled import SETTINGS, jobs_of, now, rows_of
from touchline.library import repository
from touchline.library.tables import DetectJob, DetectJobStatus, RunLease, SourceAsset
from touchline.watch import Bounds

Run = dg.DagsterRunStatus
CLOCK = sa.func.clock_timestamp()
ELSEWHERE = "another/1"


@pytest.fixture
def source(runner: Runner) -> SourceAsset:
    with runner.connection.database.session() as session:
        return repository.register_source(session, f"/library/{uuid.uuid4()}.mp4", checksum="c", duration=6.0)


@pytest.fixture
def dead() -> dict[str, str | int]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    process = process_here(child.pid)
    child.kill()
    child.wait()
    return process


def at_work(runner: Runner, source: SourceAsset, status: Run = Run.STARTED, **tags: str) -> DetectJob:
    run = create_run_for_test(runner.instance, "detect_brands", run_id=str(uuid.uuid4()), status=status, tags=tags)
    with runner.connection.database.session() as session:
        job = repository.create_job(session, source, dagster_run_id=run.run_id)
        return repository.set_job_status(session, job.id, DetectJobStatus.RUNNING)


def leased(runner: Runner, job: DetectJob, where: str, process: dict[str, str | int]) -> str:
    """A lease of the job's run for that process; its holder."""
    holder, run_id = uuid.uuid4().hex, str(job.dagster_run_id)
    with runner.connection.database.session() as session:
        assert repository.claim_lease(session, run_id, holder, host=where, process=process, version="1")
    return holder


def aged(runner: Runner, run_id: str | None, *, seen_s: float, doubted_s: float | None = None) -> None:
    """The lease as it is after that many seconds."""
    values: dict[str, object] = {"seen_at": CLOCK - timedelta(seconds=seen_s)}
    if doubted_s is not None:
        values["doubted_at"] = CLOCK - timedelta(seconds=doubted_s)
    with runner.connection.database.session() as session:
        session.execute(sa.update(RunLease).where(RunLease.run_id == run_id).values(**values))


def lease_of(runner: Runner, run_id: str | None) -> RunLease | None:
    with runner.connection.database.session() as session:
        return repository.get_lease(session, str(run_id))


def status_of(runner: Runner, job: DetectJob) -> tuple[Run, DetectJobStatus]:
    run = runner.instance.get_run_by_id(str(job.dagster_run_id))
    assert run is not None
    return run.status, now(runner, job).status


ALIVE = (Run.STARTED, DetectJobStatus.RUNNING)
DEAD = (Run.FAILURE, DetectJobStatus.FAILED)


@pytest.fixture
def job(runner: Runner, source: SourceAsset) -> Iterator[DetectJob]:
    """A job at work, ended when the test is over."""
    made = at_work(runner, source)
    yield made
    run = runner.instance.get_run_by_id(str(made.dagster_run_id))
    if run is not None and not run.is_finished:
        runner.instance.report_run_failed(run)
    reconcile(runner.instance, runner.connection)


# Claims and beats


def test_of_many_processes_one_does_a_run(runner: Runner) -> None:
    run_id = str(uuid.uuid4())

    def claim(_: int) -> Lease | LeaseLostError:
        try:
            return Lease(runner.connection.database, run_id)
        except LeaseLostError as error:
            return error

    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(claim, range(6)))
    [lease] = [one for one in made if isinstance(one, Lease)]
    assert all("is executed by process" in str(one) for one in made if one is not lease)
    lease.check()
    lease.release()
    assert lease_of(runner, run_id) is None
    with pytest.raises(LeaseLostError):
        lease.check()


def test_a_beat_clears_a_doubt_and_a_lost_lease_has_none(
    runner: Runner, job: DetectJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = leased(runner, job, ELSEWHERE, {"pid": 1, "identity": "x/1"})
    run_id = str(job.dagster_run_id)
    aged(runner, run_id, seen_s=100, doubted_s=20)
    with runner.connection.database.session() as session:
        assert repository.renew_lease(session, run_id, holder)
        assert run_id not in repository.expired_leases(session)
        assert not repository.renew_lease(session, run_id, "another holder")
    reconcile(runner.instance, runner.connection)
    assert status_of(runner, job) == ALIVE


def test_a_lease_is_not_taken_away_in_the_middle_of_a_commit_and_beats_go_on(runner: Runner, job: DetectJob) -> None:
    holder = leased(runner, job, ELSEWHERE, {"pid": 1, "identity": "x/1"})
    run_id = str(job.dagster_run_id)
    lease = lease_of(runner, run_id)
    assert lease is not None
    session = runner.connection.database.session
    with session() as committing:
        assert repository.holds_lease(committing, run_id, holder)
        with session() as other:
            assert repository.renew_lease(other, run_id, holder)
        with session() as other:
            assert not repository.revoke_lease(other, lease)
    with session() as other:
        assert repository.revoke_lease(other, lease)
    with session() as committing:
        assert not repository.holds_lease(committing, run_id, holder)


# Who is dead


def test_a_process_of_this_machine_that_is_gone_is_found_at_once(
    runner: Runner, job: DetectJob, dead: dict[str, str | int]
) -> None:
    leased(runner, job, host(), dead)
    found = reconcile(runner.instance, runner.connection)
    assert job.dagster_run_id in found.runs
    assert status_of(runner, job) == DEAD
    assert f"process {dead['pid']} on {socket.gethostname()} ended without reporting an error" in str(
        now(runner, job).error_message
    )
    assert lease_of(runner, job.dagster_run_id) is None


@pytest.mark.parametrize("seen_s", [3600, -3600])
def test_a_step_of_the_databases_clock_ends_no_process_that_lives(runner: Runner, job: DetectJob, seen_s: int) -> None:
    leased(runner, job, host(), process_here())
    for _ in range(2):
        aged(runner, job.dagster_run_id, seen_s=seen_s, doubted_s=20)
        reconcile(runner.instance, runner.connection)
        assert status_of(runner, job) == ALIVE


def test_a_process_elsewhere_is_dead_after_two_looks_some_time_apart(runner: Runner, job: DetectJob) -> None:
    leased(runner, job, ELSEWHERE, {"pid": 1, "identity": "x/1"})
    reconcile(runner.instance, runner.connection)
    # As after a time in which the database answered nobody: the first look proves nothing.
    aged(runner, job.dagster_run_id, seen_s=100)
    for _ in range(2):
        reconcile(runner.instance, runner.connection)
        assert status_of(runner, job) == ALIVE
    # Nobody looked for so long that the database may have been away in the meantime.
    aged(runner, job.dagster_run_id, seen_s=300, doubted_s=200)
    reconcile(runner.instance, runner.connection)
    assert status_of(runner, job) == ALIVE
    aged(runner, job.dagster_run_id, seen_s=320, doubted_s=20)
    reconcile(runner.instance, runner.connection)
    assert status_of(runner, job) == DEAD
    assert "process 1 on another was not heard of for 5 min" in str(now(runner, job).error_message)


def test_a_lease_that_was_taken_by_somebody_who_died_then_ends_its_run_at_the_next_look(
    runner: Runner, job: DetectJob
) -> None:
    leased(runner, job, ELSEWHERE, {"pid": 1, "identity": "x/1"})
    lease = lease_of(runner, job.dagster_run_id)
    assert lease is not None
    with runner.connection.database.session() as session:
        assert repository.revoke_lease(session, lease)
    reconcile(runner.instance, runner.connection)
    assert status_of(runner, job) == DEAD
    assert lease_of(runner, job.dagster_run_id) is None


def test_another_boot_alone_proves_nothing(runner: Runner, job: DetectJob) -> None:
    process = process_here()
    leased(runner, job, host(), {**process, "identity": f"another-boot/{str(process['identity']).rpartition('/')[2]}"})
    reconcile(runner.instance, runner.connection)
    assert status_of(runner, job) == ALIVE
    aged(runner, job.dagster_run_id, seen_s=100, doubted_s=20)
    reconcile(runner.instance, runner.connection)
    assert status_of(runner, job) == DEAD


def test_a_lease_of_a_run_that_is_over_goes_away(runner: Runner, source: SourceAsset) -> None:
    job = at_work(runner, source)
    leased(runner, job, ELSEWHERE, {"pid": 1, "identity": "x/1"})
    run = runner.instance.get_run_by_id(str(job.dagster_run_id))
    assert run is not None
    runner.instance.report_run_canceled(run)
    reconcile(runner.instance, runner.connection)
    assert lease_of(runner, job.dagster_run_id) is None
    assert now(runner, job).status is DetectJobStatus.CANCELLED


# Runs that never began


def test_a_run_whose_launcher_died_before_it_began_is_ended_at_a_start_and_after_a_while(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starting(path: Path) -> str:
        tags = {LAUNCHER_TAG: json.dumps({"host": "localhost", "socket": str(path)})}
        return create_run_for_test(runner.instance, "detect_brands", status=Run.STARTING, tags=tags).run_id

    def status(run_id: str) -> Run:
        run = runner.instance.get_run_by_id(run_id)
        assert run is not None
        return run.status

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "alive"))
        server.listen()
        living, first, second = starting(tmp_path / "alive"), starting(tmp_path / "gone"), starting(tmp_path / "gone")
        reconcile(runner.instance, runner.connection)
        assert {status(run) for run in (living, first, second)} == {Run.STARTING}
        monkeypatch.setattr(watchdog, "START_S", -1.0)
        Watchdog(runner.instance, runner.connection, Bounds()).check()
        assert [status(run) for run in (living, first, second)] == [Run.STARTING, Run.FAILURE, Run.FAILURE]
        silent = create_run_for_test(runner.instance, "detect_brands", status=Run.STARTING).run_id
        reconcile(runner.instance, runner.connection)
        assert status(silent) is Run.STARTING
        third = starting(tmp_path / "gone")
        assert third in reconcile(runner.instance, runner.connection, begun_before=True).runs
        assert [status(run) for run in (living, silent, third)] == [Run.STARTING, Run.FAILURE, Run.FAILURE]
        [told] = [
            entry.dagster_event.message
            for entry in runner.instance.all_logs(third, of_type=dg.DagsterEventType.RUN_FAILURE)
            if entry.dagster_event
        ]
        assert NEVER_STARTED in str(told)
        runner.instance.report_run_failed(runner.instance.get_run_by_id(living))  # type: ignore[arg-type]


# Fencing


def test_a_run_that_lost_its_lease_writes_nothing_more(runner: Runner, own_source: SourceAsset) -> None:
    left = [True]

    def taken(stage: str, share: float) -> None:
        if left and stage == "filter_scenes" and share > 0:
            left.pop()
            run_id = jobs_of(runner, own_source)[-1].dagster_run_id
            with runner.connection.database.session() as session:
                session.execute(sa.update(RunLease).where(RunLease.run_id == run_id).values(host=ELSEWHERE))
            aged(runner, run_id, seen_s=100, doubted_s=20)
            assert run_id in reconcile(runner.instance, runner.connection).runs

    ended = runner.run(own_source, overrides=SETTINGS, until="filter_scenes", listener=taken)
    assert not ended.succeeded and "nothing more is written" in ended.error
    assert ended.job.status is DetectJobStatus.FAILED
    assert "was not heard of for" in str(ended.job.error_message)
    assert set(rows_of(runner, ended.job)) == {"extract_frames"}
    journal = f"checkpoints/{ended.job.id}/stages/filter_scenes.partial/"
    assert [key for key, _ in runner.connection.objects.list(journal)] == [f"{journal}0.bson"]
    # Another run goes on from there, holds a lease while it works, and gives it back.
    held: list[RunLease | None] = []
    again = runner.run(
        own_source,
        overrides=SETTINGS,
        until="filter_scenes",
        listener=lambda *_: held.append(lease_of(runner, jobs_of(runner, own_source)[-1].dagster_run_id)),
    )
    assert again.succeeded, again.error
    assert all(lease is not None and lease.host == host() for lease in held)
    assert lease_of(runner, again.run_id) is None


def test_a_checkpoint_of_a_lost_lease_gets_no_row(runner: Runner, own_source: SourceAsset) -> None:
    done = runner.run(own_source, until="extract_frames")
    row = rows_of(runner, done.job)["extract_frames"]
    with runner.connection.database.session() as session:
        other = repository.create_job(session, own_source)
    run_id = str(uuid.uuid4())
    assert leases.acquire_lease(runner.connection.database, run_id) and not leases.acquire_lease(
        runner.connection.database, run_id
    )
    guard, lease = leases.guard_of(run_id), lease_of(runner, run_id)
    assert lease is not None
    with runner.connection.database.session() as session:
        assert repository.revoke_lease(session, lease)
    with pytest.raises(LeaseLostError):
        runner.connection.checkpoints.reuse(row, other, guard=guard)
    journal = runner.connection.checkpoints.journal(other.id, "filter_scenes", "f")
    journal.write(0, [{"sequence": 0}], {})
    with pytest.raises(LeaseLostError):
        runner.connection.checkpoints.commit(
            job=other,
            stage="filter_scenes",
            fingerprint="f",
            journal=journal,
            stats={},
            config_snapshot={},
            config_overrides={},
            input_checkpoint_ids=[],
            guard=guard,
        )
    assert rows_of(runner, other) == {}
    leases.release_lease(run_id)


SLEEPER = """
import sys
from resources.database import Database
from resources.leases import Lease, LeaseLostError
lease = Lease(Database(sys.stdin.readline().strip()), sys.argv[1])
print("holds", flush=True)
sys.stdin.readline()
try:
    lease.check()
    print("writes")
except LeaseLostError:
    print("fenced")
"""


def test_a_stopped_process_loses_its_run_and_is_fenced_when_it_goes_on(runner: Runner, job: DetectJob) -> None:
    command = [sys.executable, "-c", SLEEPER, str(job.dagster_run_id)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(runner.connection.database.url.render_as_string(hide_password=False) + "\n")
        child.stdin.flush()
        assert child.stdout.readline() == "holds\n"
        aged(runner, job.dagster_run_id, seen_s=100, doubted_s=20)
        reconcile(runner.instance, runner.connection)
        assert status_of(runner, job) == ALIVE, "it lives and was not stopped: nothing tells that it is dead"
        child.send_signal(signal.SIGSTOP)
        assert wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_STOPPED, 60)
        aged(runner, job.dagster_run_id, seen_s=100, doubted_s=20)
        reconcile(runner.instance, runner.connection)
        assert status_of(runner, job) == DEAD
        child.send_signal(signal.SIGCONT)
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "fenced\n"
