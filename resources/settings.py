"""Settings from environment variables: the home folder and the servers.

Belongs here: the name, default and meaning of every environment variable. `local_services.py` starts servers;
`touchline/profiles` has the settings of the pipeline.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from resources.shell import keys_in
from touchline.errors import BadInputError
from touchline.home import home as home_of
from touchline.library.driver import with_driver
from touchline.watch import Bounds


@dataclass(frozen=True, slots=True)
class EnvironmentVariable:
    """An environment variable. `default` is in words; the value of a `secret` one is never shown."""

    name: str
    default: str
    description: str
    secret: bool = False


ENVIRONMENT: Final = (
    EnvironmentVariable(
        "TOUCHLINE_HOME",
        "$XDG_DATA_HOME/touchline or ~/.local/share/touchline; /var/lib/touchline for root",
        "Folder of everything Touchline keeps on this machine: the embedded servers' data, Dagster's home, the demo.",
    ),
    EnvironmentVariable(
        "TOUCHLINE_POSTGRES_URL",
        "an embedded Postgres",
        "SQLAlchemy URL of a Postgres database for Touchline's and Dagster's tables (postgresql+psycopg2://...).",
        secret=True,
    ),
    EnvironmentVariable("TOUCHLINE_S3_ENDPOINT", "an embedded SeaweedFS", "Address of an S3-compatible object store."),
    EnvironmentVariable("TOUCHLINE_S3_BUCKET", "touchline", "Bucket for frames, checkpoints and reports."),
    EnvironmentVariable("TOUCHLINE_S3_REGION", "us-east-1", "Region that requests are signed for."),
    EnvironmentVariable("TOUCHLINE_S3_ACCESS_KEY_ID", "$AWS_ACCESS_KEY_ID", "Access key of the object store.", True),
    EnvironmentVariable("TOUCHLINE_S3_SECRET_ACCESS_KEY", "$AWS_SECRET_ACCESS_KEY", "Its secret key.", True),
    EnvironmentVariable(
        "TOUCHLINE_S3_SESSION_TOKEN",
        "$AWS_SESSION_TOKEN, with $AWS_ACCESS_KEY_ID",
        "Its session token, where the keys are temporary ones.",
        True,
    ),
    EnvironmentVariable(
        "TOUCHLINE_PATIENCE_S",
        "120",
        "Retry deadline in seconds for a server that is unavailable or hangs; then the run ends, and can be resumed.",
    ),
    EnvironmentVariable(
        "TOUCHLINE_STALL_S",
        "900; 1800 for extract_frames, detect_objects and the escalations",
        "Seconds without progress after which a stage counts as hung: its process is ended, and its job can be "
        "resumed. One number for all, or pairs such as run_ocr=300,detect_objects=3600; 0 is never.",
    ),
    EnvironmentVariable(
        "TOUCHLINE_UPLOADS",
        "$TOUCHLINE_HOME/uploads",
        "Folder that is scanned for uploads, in addition to uploads/ in the bucket; it may be missing.",
    ),
    EnvironmentVariable(
        "TOUCHLINE_YOLO_WEIGHTS",
        "yolo11n.pt, fetched by ultralytics",
        "Path of YOLO weights for detect_objects; TOUCHLINE_YOLO_SHA256 must name their checksum.",
    ),
    EnvironmentVariable("TOUCHLINE_YOLO_SHA256", "what the profile names", "SHA-256 of those weights, hex."),
    EnvironmentVariable(
        "TOUCHLINE_TOKEN",
        "the file token in TOUCHLINE_HOME, made at the first start",
        "Token that logs in to the web server of `touchline serve`, 16 characters or more.",
        secret=True,
    ),
    EnvironmentVariable(
        "TOUCHLINE_TOKEN_FILE", "none", "File that holds that token, where TOUCHLINE_TOKEN is not set."
    ),
    EnvironmentVariable(
        "TOUCHLINE_HOSTS",
        "none",
        "Additional host names of the web server, separated by commas, such as that of a reverse proxy.",
    ),
)
"""All environment variables of Touchline, in the order of the documentation."""


@dataclass(frozen=True)
class Settings:
    """Settings read from the environment. A server with an empty address is embedded."""

    home: Path
    postgres_url: str = field(default="", repr=False)
    s3_endpoint: str = ""
    s3_bucket: str = "touchline"
    s3_region: str = "us-east-1"
    s3_access_key_id: str = field(default="", repr=False)
    s3_secret_access_key: str = field(default="", repr=False)
    s3_session_token: str = field(default="", repr=False)
    patience_s: float = 120.0
    stall: Bounds = field(default_factory=Bounds)
    uploads: Path = Path("uploads")
    """Folder that is scanned for uploads; absolute if read from the environment."""
    yolo_weights: str = ""
    yolo_sha256: str = ""
    token: str = field(default="", repr=False)
    token_file: str = ""
    hosts: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Settings from `environment`, by default that of this process. Raises BadInputError for an invalid value."""
        env = os.environ if environment is None else environment
        home = home_of(env)
        keys = {own: env[name] for own, name in keys_in(env).items()}
        return cls(
            home=home,
            uploads=Path(env.get("TOUCHLINE_UPLOADS") or home / "uploads").expanduser().absolute(),
            postgres_url=with_driver(env.get("TOUCHLINE_POSTGRES_URL", "")),
            s3_endpoint=env.get("TOUCHLINE_S3_ENDPOINT", ""),
            s3_bucket=env.get("TOUCHLINE_S3_BUCKET") or "touchline",
            s3_region=env.get("TOUCHLINE_S3_REGION") or "us-east-1",
            s3_access_key_id=keys.get("TOUCHLINE_S3_ACCESS_KEY_ID", ""),
            s3_secret_access_key=keys.get("TOUCHLINE_S3_SECRET_ACCESS_KEY", ""),
            s3_session_token=keys.get("TOUCHLINE_S3_SESSION_TOKEN", ""),
            patience_s=_seconds(env, "TOUCHLINE_PATIENCE_S", 120.0),
            stall=Bounds.parse(env.get("TOUCHLINE_STALL_S", ""), "TOUCHLINE_STALL_S"),
            yolo_weights=env.get("TOUCHLINE_YOLO_WEIGHTS", ""),
            yolo_sha256=env.get("TOUCHLINE_YOLO_SHA256", ""),
            token=env.get("TOUCHLINE_TOKEN", ""),
            token_file=env.get("TOUCHLINE_TOKEN_FILE", ""),
            hosts=tuple(name.strip() for name in env.get("TOUCHLINE_HOSTS", "").split(",") if name.strip()),
        )


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    given = env.get(name)
    try:
        seconds = float(given) if given else default
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise BadInputError(f"{name}: expected a number of seconds, 0 or more, got {given!r}")
    return seconds
