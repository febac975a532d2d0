"""What runs print, kept in the object store, so that the web server shows it whichever machine did the run.

Belongs here: Dagster's own log manager for S3, told of Touchline's object store. How long logs are kept is in
`touchline/library/retention.py`.
https://docs.dagster.io/deployment/oss/oss-instance-configuration#s3computelogmanager
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import boto3
import botocore.session
from botocore.config import Config
from dagster import StringSource
from dagster_aws.s3 import S3ComputeLogManager

from resources.local_services import OBJECTS, Endpoints, LocalServices
from resources.settings import Settings
from touchline.library.retention import LOGS

UPLOAD_S: Final = 30
"""Seconds between two uploads of what a run has printed so far: what is shown of a run on another machine."""
CLIENT: Final = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 2})
"""A store that is away delays a run's end by seconds. Dagster notes in the run that its logs could not be stored."""


class ObjectLogs(S3ComputeLogManager):
    """`compute_logs` of dagster.yaml. `local_dir` is where a process writes what it captures.

    The store and its keys are those of the environment (`resources/settings.py`), or the embedded server.
    """

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Dagster's schema of the configuration."""
        return {"local_dir": StringSource}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> ObjectLogs:
        """Made by Dagster from dagster.yaml. Raises ServiceError if there is no object store."""
        endpoints = LocalServices(Settings.from_environment(), only=(OBJECTS,)).start()
        with _default_session(endpoints):
            return cls(
                bucket=endpoints.s3_bucket,
                endpoint_url=endpoints.s3_endpoint,
                region=endpoints.s3_region,
                prefix=LOGS,
                local_dir=config_value["local_dir"],
                upload_interval=UPLOAD_S,
                inst_data=inst_data,
            )

    def download_url_for_type(self, log_key: Sequence[str], io_type: Any) -> str | None:
        """The web server's own address of a log: a signed address of the store would let in whoever has it."""
        if not self.is_capture_complete(log_key):
            return None
        return "/".join(("/logs", *log_key, "out" if io_type.name == "STDOUT" else "err"))


@contextmanager
def _default_session(endpoints: Endpoints) -> Iterator[None]:
    """Has boto3 make its next client with the store's keys: the log manager takes none, and Dagster shows its settings.

    Afterwards boto3 is as it was.
    """
    before = boto3.DEFAULT_SESSION
    session = botocore.session.get_session()
    session.set_default_client_config(CLIENT)
    boto3.setup_default_session(
        botocore_session=session,
        aws_access_key_id=endpoints.s3_access_key_id,
        aws_secret_access_key=endpoints.s3_secret_access_key,
        aws_session_token=endpoints.s3_session_token or None,
        region_name=endpoints.s3_region,
    )
    try:
        yield
    finally:
        boto3.DEFAULT_SESSION = before
