"""What runs print, in the object store: who may write it, what is shown of it, and how long it is kept."""

from __future__ import annotations

import os
import uuid
from datetime import timedelta
from pathlib import Path

import boto3
import pytest

from detection_assets.dagster_internals.object_logs import ObjectLogs
from detection_assets.local.runner import Runner
from detection_assets.upkeep import collect_garbage


def test_logs_are_stored_with_keys_that_nobody_else_gets(
    secluded: Runner, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before, objects = boto3.DEFAULT_SESSION, secluded.connection.objects
    logs = ObjectLogs.from_config_value(None, {"local_dir": str(tmp_path)})
    assert boto3.DEFAULT_SESSION is before
    key = [str(uuid.uuid4()), "compute_logs", "abc"]
    with capfd.disabled(), logs.capture_logs(key):
        os.write(1, b"out\n")
        os.write(2, b"err\n")
    prefix = f"logs/storage/{key[0]}/compute_logs/abc"
    assert (objects.get(f"{prefix}.out"), objects.get(f"{prefix}.err")) == (b"out\n", b"err\n")
    assert not list(tmp_path.rglob("abc.*"))
    told = logs.get_log_metadata(key)
    assert told.stderr_location == objects.uri(f"{prefix}.err")
    # An address of the store would hold a signature, which lets in whoever has it.
    assert told.stderr_download_url == f"/logs/{'/'.join(key)}/err"
    logs.dispose()


def test_what_runs_printed_goes_by_its_age_alone(secluded: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    instance, connection = secluded.instance, secluded.connection
    keys = [f"logs/storage/{uuid.uuid4()}/compute_logs/abc.{kind}" for kind in ("err", "out", "err.partial")]
    for key in keys:
        connection.objects.put(key, b"printed")
    told = collect_garbage.collect(instance, connection, older_than=timedelta(0))
    assert "logs/" not in told.not_ours
    assert told.objects["logs"] == 0
    assert all(map(connection.objects.exists, keys))
    monkeypatch.setattr(collect_garbage, "LOGS_KEPT", -timedelta(hours=1))
    there = len(connection.objects.list("logs/"))
    assert collect_garbage.collect(instance, connection, dry_run=True).objects["logs"] == there
    assert collect_garbage.collect(instance, connection).objects["logs"] == there
    assert not any(map(connection.objects.exists, keys))
