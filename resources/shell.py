"""What of the user's shell reaches the clients of the servers: what Touchline reads itself, and nothing beside it.

Belongs here: taking variables out of this process's environment, from which its child processes inherit. What Touchline
reads is in `settings.py`; the environment of the embedded servers themselves is in `embedded/processes.py`.

obstore, boto3 and libpq read variables and files of their own beside what they are given: a profile, a token, another
endpoint, a service, a proxy. They cannot be told not to, so the variables are taken away before they look.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from typing import Final

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
"""Names of this machine, which no proxy is asked for: the embedded servers and Dagster's webserver are here."""
NO_PROXY: Final = ("no_proxy", "NO_PROXY")
"""Who is reached without a proxy. Programs differ in which of the two they read first."""
GRPC_NO_PROXY: Final = "no_grpc_proxy"
"""gRPC, over which Dagster's parts talk, reads this one instead where it is set."""
OBJECT_STORE_CLIENTS: Final = ("AWS_", "BOTO")
"""Beginnings of the variables that obstore and botocore read."""
ALLOWED: Final = frozenset({"AWS_CA_BUNDLE"})
"""Of those, what counts: certificates that an object store of one's own may need."""
NO_FILES: Final = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
"""In place of ~/.aws, which may name another endpoint, a token or a proxy, or be broken."""
POSTGRES_CLIENTS: Final = "PG"
"""Beginning of the variables that libpq reads."""
DEBUGGING: Final = "SSLKEYLOGFILE"
"""Where it cannot be written, botocore makes no client."""
CARRIED: Final = {
    "TOUCHLINE_S3_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID",
    "TOUCHLINE_S3_SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_KEY",
    "TOUCHLINE_S3_SESSION_TOKEN": "AWS_SESSION_TOKEN",
}
"""Touchline's own variables, and those that stand in for them where an object store is given without keys."""


def isolate_environment(environment: MutableMapping[str, str] | None = None) -> None:
    """Takes out of `environment` (the process's own by default) what would steer the servers' clients unasked.

    Of the object store's clients everything goes but ALLOWED; the keys that Touchline falls back to are kept under its
    own names. Of libpq's everything goes unless TOUCHLINE_POSTGRES_URL names a server: what such a URL leaves open is
    libpq's to find. Proxies stay, for the world outside. A second call changes nothing.

    To be called before the first client is made and before threads are: it writes to the process's environment.
    """
    env = os.environ if environment is None else environment
    _spare_this_machine(env)
    if env.get("TOUCHLINE_S3_ENDPOINT"):
        for own, name in keys_in(env).items():
            _set(env, own, env[name])
    unwanted = [name for name in env if name.startswith(OBJECT_STORE_CLIENTS) and name not in ALLOWED | NO_FILES.keys()]
    if not env.get("TOUCHLINE_POSTGRES_URL"):
        unwanted += [name for name in env if name.startswith(POSTGRES_CLIENTS)]
    for name in unwanted:
        del env[name]
    env.pop(DEBUGGING, None)
    for name, value in NO_FILES.items():
        _set(env, name, value)


def keys_in(environment: Mapping[str, str]) -> dict[str, str]:
    """Touchline's variables for an object store's keys, each with the name under which `environment` holds it.

    The token belongs to the keys beside it, so Touchline's access key is never used with AWS's token.
    """
    found = {own: own if environment.get(own) else name for own, name in CARRIED.items()}
    if environment.get("TOUCHLINE_S3_ACCESS_KEY_ID"):
        found["TOUCHLINE_S3_SESSION_TOKEN"] = "TOUCHLINE_S3_SESSION_TOKEN"  # noqa: S105 (a name)
    return {own: name for own, name in found.items() if environment.get(name)}


def _spare_this_machine(env: MutableMapping[str, str]) -> None:
    """This machine is added to what is reached without a proxy, in every spelling."""
    given = [name.strip() for spelling in NO_PROXY for name in env.get(spelling, "").split(",")]
    spared = ",".join(dict.fromkeys([*(name for name in given if name), *LOOPBACK]))
    for spelling in NO_PROXY:
        _set(env, spelling, spared)
    if GRPC_NO_PROXY in env:
        _set(env, GRPC_NO_PROXY, ",".join(dict.fromkeys([*env[GRPC_NO_PROXY].split(","), *LOOPBACK])))


def _set(env: MutableMapping[str, str], name: str, value: str) -> None:
    if env.get(name) != value:
        env[name] = value
