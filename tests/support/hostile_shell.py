"""A shell in which everything is set that has led others' clients astray, with the files that go with it.

Belongs here: the variables and files. What must work all the same is in `test_shell.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

NOBODY: Final = "http://127.0.0.1:9"
"""Nothing listens there."""

OBJECT_STORE: Final = {
    "AWS_PROFILE": "nosuch",
    "AWS_DEFAULT_PROFILE": "nosuch",
    "AWS_ACCESS_KEY_ID": "AKIAANALYST",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token",
    "AWS_SECURITY_TOKEN": "token",
    "AWS_ENDPOINT": NOBODY,
    "AWS_ENDPOINT_URL": NOBODY,
    "AWS_ENDPOINT_URL_S3": NOBODY,
    "AWS_REGION": "eu-central-1",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_SKIP_SIGNATURE": "true",
    "AWS_S3_EXPRESS": "true",
    "AWS_PROXY_URL": NOBODY,
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_CHECKSUM_ALGORITHM": "sha256",
    "AWS_SERVER_SIDE_ENCRYPTION": "aws:kms",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "nonsense",
    "AWS_ROLE_ARN": "arn:aws:iam::1:role/x",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent/token",
    "AWS_DEFAULTS_MODE": "nonsense",
    "AWS_CA_BUNDLE": "/nonexistent/ca.pem",
    "REQUESTS_CA_BUNDLE": "/nonexistent/ca.pem",
    "CURL_CA_BUNDLE": "/nonexistent/ca.pem",
    "SSL_CERT_FILE": "/nonexistent/ca.pem",
    "SSLKEYLOGFILE": "/nonexistent/keys",
    "WEED_S3_PORT": "1",
}
POSTGRES: Final = {
    "PGHOST": "db.invalid",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGUSER": "analyst",
    "PGPASSWORD": "wrong",
    "PGDATABASE": "nosuch",
    "PGSERVICE": "analysis",
    "PGPASSFILE": "/nonexistent/pgpass",
    "PGOPTIONS": "-c default_transaction_read_only=on",
    "PGSSLMODE": "require",
    "PGGSSENCMODE": "require",
    "PGREQUIREAUTH": "none",
    "PGCHANNELBINDING": "require",
    "PGTARGETSESSIONATTRS": "read-only",
    "PGCLIENTENCODING": "LATIN1",
    "PGTZ": "Asia/Tokyo",
    "PGDATESTYLE": "German",
    "PGDATA": "/nonexistent/data",
}
PROXIES: Final = {
    name: NOBODY
    for spelling in ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy", "grpc_proxy")
    for name in (spelling, spelling.upper())
} | {"no_proxy": "example.org", "NO_PROXY": "example.com", "no_grpc_proxy": "example.net"}
MACHINE: Final = {
    "LANG": "tr_TR.ISO-8859-9",
    "LC_ALL": "nowhere_XX.latin7",
    "TZ": "Asia/Kathmandu",
    "TMPDIR": "/nonexistent/tmp",
    "LD_LIBRARY_PATH": "/nonexistent/lib",
    "GODEBUG": "http2client=0",
    "PYTHONUTF8": "1",
}


def variables(home: Path) -> dict[str, str]:
    """All of it, with a home folder whose files of the same kind are made here."""
    files = {
        ".aws/config": f"[default]\nendpoint_url = {NOBODY}\nuse_fips_endpoint = true\n[profile broken\n",
        ".aws/credentials": "[default]\naws_access_key_id = a\naws_secret_access_key = b\naws_session_token = c\n",
        ".pgpass": "*:*:*:*:wrong\n",
        ".pg_service.conf": "[analysis]\nhost=db.invalid\nsslmode=verify-full\n",
        ".postgresql/root.crt": "no certificate\n",
        ".postgresql/postgresql.crt": "no certificate\n",
        ".seaweedfs/security.toml": "[jwt.signing]\nkey = 'x'\n[jwt.filer_signing]\nkey = 'y'\n",
    }
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
    return {**OBJECT_STORE, **POSTGRES, **PROXIES, **MACHINE, "HOME": str(home)}
