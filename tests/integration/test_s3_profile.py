"""The profile for AWS's tools: what docs/uploads.md says of the embedded object store works, for its owner alone."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from resources.local_services import Endpoints, profile_of
from resources.object_store import ObjectStore
from resources.settings import Settings

PUT = """
import boto3, sys
client = boto3.client("s3")
client.upload_file(sys.argv[1], "touchline", "uploads/by-hand.png")
print(*(item["Key"] for item in client.list_objects_v2(Bucket="touchline", Prefix="uploads/by-hand")["Contents"]))
"""
"""What `aws s3 cp` and `aws s3 ls` do: a client of what the environment names, and of nothing else."""


def test_tools_find_address_and_keys_by_the_line_that_serve_prints(
    services: Endpoints, settings: Settings, objects: ObjectStore, tmp_path: Path
) -> None:
    match = tmp_path / "match.png"
    match.write_bytes(b"picture")
    given = dict(word.split("=", 1) for word in shlex.split(profile_of(settings))[1:])
    rest = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TOUCHLINE_"))}
    done = subprocess.run(
        [sys.executable, "-c", PUT, str(match)], env={**rest, **given}, capture_output=True, text=True, timeout=240
    )
    assert (done.returncode, done.stdout) == (0, "uploads/by-hand.png\n"), done.stderr
    assert objects.get("uploads/by-hand.png") == b"picture"
    objects.delete("uploads/by-hand.png")
    text = (Path(__file__).parents[2] / "docs/uploads.md").read_text("utf-8")
    [line] = [line for line in text.splitlines() if line.startswith("export AWS_")]
    assert {word.split("=")[0] for word in line.split()[1:]} == given.keys()
    assert services.s3_secret_access_key not in profile_of(settings)


def test_the_profile_is_readable_by_its_owner_alone(services: Endpoints, settings: Settings) -> None:
    profile = settings.home / "services/s3-credentials"
    assert profile.stat().st_mode & 0o777 == 0o600
    assert services.s3_endpoint in profile.read_text()
