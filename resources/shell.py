"""Remove variables from the environment that would configure the clients of the servers.

Belongs here: the environment of this process and its child processes. The variables of Touchline are in `settings.py`;
the environment of the embedded servers is in `embedded/processes.py`.

obstore, boto3 and libpq read variables and files in addition to their arguments: profiles, tokens, endpoints, services,
proxies. They have no option against it, so the variables are removed before the first client is created.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from typing import Final

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
"""Names of this machine, which are reached without a proxy: the embedded servers and Dagster's webserver."""
NO_PROXY: Final = ("no_proxy", "NO_PROXY")
"""Variables that list the hosts reached without a proxy. Programs differ in which they read first."""
GRPC_NO_PROXY: Final = "no_grpc_proxy"
"""Variable that gRPC, and so Dagster, reads instead of NO_PROXY if it is set."""
OBJECT_STORE_CLIENTS: Final = ("AWS_", "BOTO")
"""Prefixes of the variables that obstore and botocore read."""
ALLOWED: Final = frozenset({"AWS_CA_BUNDLE"})
"""Variables of the object store's clients that are kept: a private object store may need certificates."""
NO_FILES: Final = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
"""Variables that replace the files in ~/.aws, which may name another endpoint, token or proxy, by empty ones."""
POSTGRES_CLIENTS: Final = "PG"
"""Prefix of the variables that libpq reads."""
DEBUGGING: Final = "SSLKEYLOGFILE"
"""Variable with the path of a TLS key log. botocore fails if the file cannot be written."""
CARRIED: Final = {
    "TOUCHLINE_S3_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID",
    "TOUCHLINE_S3_SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_KEY",
    "TOUCHLINE_S3_SESSION_TOKEN": "AWS_SESSION_TOKEN",
}
"""Touchline's variables for the keys of an object store, with the AWS variables that are their defaults."""


def isolate_environment(environment: MutableMapping[str, str] | None = None) -> None:
    """Removes from `environment` (by default that of this process) the variables that configure the servers' clients.

    Variables of the object store's clients are removed except ALLOWED; default keys are copied to Touchline's own.
    Variables of libpq are removed unless TOUCHLINE_POSTGRES_URL is set, whose omissions libpq fills from them. Proxies
    are kept for other hosts. The call is idempotent.

    Call it before the first client and the first thread: it changes the environment of the process.
    """
    env = os.environ if environment is None else environment
    _bypass_proxy(env)
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
    """Touchline's variables for an object store's keys, each with the variable of `environment` that has its value.

    A session token belongs to its keys: Touchline's access key is never combined with AWS's token.
    """
    found = {own: own if environment.get(own) else name for own, name in CARRIED.items()}
    if environment.get("TOUCHLINE_S3_ACCESS_KEY_ID"):
        found["TOUCHLINE_S3_SESSION_TOKEN"] = "TOUCHLINE_S3_SESSION_TOKEN"  # noqa: S105 (a name)
    return {own: name for own, name in found.items() if environment.get(name)}


def _bypass_proxy(env: MutableMapping[str, str]) -> None:
    """Adds this machine to the hosts reached without a proxy, in every variable."""
    given = [name.strip() for spelling in NO_PROXY for name in env.get(spelling, "").split(",")]
    hosts = ",".join(dict.fromkeys([*(name for name in given if name), *LOOPBACK]))
    for spelling in NO_PROXY:
        _set(env, spelling, hosts)
    if GRPC_NO_PROXY in env:
        _set(env, GRPC_NO_PROXY, ",".join(dict.fromkeys([*env[GRPC_NO_PROXY].split(","), *LOOPBACK])))


def _set(env: MutableMapping[str, str], name: str, value: str) -> None:
    if env.get(name) != value:
        env[name] = value
