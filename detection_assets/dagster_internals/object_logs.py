"""Compute logs in the object store, so that the webserver shows the logs of runs on any machine.

Belongs here: Dagster's compute log manager for S3, configured for Touchline's object store. The retention time is in
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
"""Interval between two uploads of a running step's logs [s]. Other machines see the logs with this delay."""
CLIENT: Final = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 2})
"""Configuration of the S3 client: short timeouts [s], so that an unreachable store delays the end of a run by seconds.

Dagster then records in the run that its logs could not be stored."""


class ObjectLogs(S3ComputeLogManager):
    """`compute_logs` of dagster.yaml. `local_dir` is the folder for captured logs.

    The environment names the store and its keys (`resources/settings.py`); by default it is the embedded server.
    """

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Schema of the configuration in dagster.yaml."""
        return {"local_dir": StringSource}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> ObjectLogs:
        """Called by Dagster. Raises ServiceError if the object store cannot be reached."""
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
        """The webserver's own address of a log. A presigned address of the store would admit anybody who has it."""
        if not self.is_capture_complete(log_key):
            return None
        return "/".join(("/logs", *log_key, "out" if io_type.name == "STDOUT" else "err"))


@contextmanager
def _default_session(endpoints: Endpoints) -> Iterator[None]:
    """Sets boto3's default session to the store's keys while the log manager makes its client; restores it afterwards.

    The log manager takes no keys as parameters, and Dagster's pages show its configuration.
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
