"""What somebody without keys tries at every door of the embedded object store. Standard library only.

Its text is given to a bare interpreter by `-c`, the doors by standard input. Where the tests are root it becomes
another user first. It prints what each door answered; `test_object_doors.py` judges it.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import tempfile
from pathlib import Path

EVIL = "http://evil.example"
PATHS = (
    ("GET", "/"),
    ("GET", "/?pretty=y"),
    ("GET", "/buckets/{bucket}/{key}"),
    ("GET", "/{bucket}/{key}"),
    ("GET", "/{bucket}?list-type=2"),
    ("GET", "/dir/assign"),
    ("GET", "/dir/lookup?volumeId=1"),
    ("GET", "/dir/status"),
    ("GET", "/vol/status"),
    ("GET", "/vol/grow?count=1"),
    ("GET", "/col/delete?collection={bucket}"),
    ("GET", "/cluster/status"),
    ("GET", "/1,01637037d6"),
    ("GET", "/ui/index.html"),
    ("GET", "/status"),
    ("GET", "/healthz"),
    ("GET", "/metrics"),
    ("GET", "/debug/pprof/"),
    ("GET", "/api/s3/buckets"),
    ("GET", "/{bucket}/{key}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=&X-Amz-Signature="),
    ("GET", "/{bucket}/{key}?AWSAccessKeyId=&Expires=9999999999&Signature="),
    ("OPTIONS", "/{bucket}/{key}"),
    ("OPTIONS", "/buckets/{bucket}/{key}"),
    ("PUT", "/{bucket}/{key}"),
    ("PUT", "/buckets/{bucket}/{key}"),
    ("PUT", "/evil-bucket"),
    ("POST", "/buckets/{bucket}/"),
    ("POST", "/submit"),
    ("POST", "/{bucket}?delete"),
    ("POST", "/?Action=AssumeRole&Version=2011-06-15&RoleSessionName=evil&RoleArn=arn:aws:iam::1:role/x"),
    ("POST", "/?Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=evil&WebIdentityToken=x"),
    ("POST", "/?Action=CreateAccessKey&Version=2010-05-08&UserName=touchline"),
    ("POST", "/?Action=ListUsers&Version=2010-05-08"),
    ("DELETE", "/{bucket}/{key}"),
    ("DELETE", "/buckets/{bucket}/{key}"),
    ("DELETE", "/buckets/{bucket}?recursive=true"),
    ("DELETE", "/{bucket}"),
)
HEADERS = ("", "Authorization: AWS4-HMAC-SHA256\r\n", "Authorization: Bearer eyJhbGciOiJub25lIn0.e30.\r\n")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))


def talk(port: int, sent: bytes, tls: ssl.SSLContext | None, patience_s: float) -> str:
    """What a port answers to bytes within a time, or the error of being refused."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=patience_s) as plain:
            connection = tls.wrap_socket(plain, server_hostname="127.0.0.1") if tls else plain
            with connection:
                connection.sendall(sent)
                answer = b""
                while part := connection.recv(65536):
                    answer += part
    except OSError as error:
        # What had come before it belongs to the answer, a timeout included.
        return f"{answer.decode('latin-1')}" if "answer" in locals() and answer else f"refused: {error}"
    return answer.decode("latin-1")


def requests(bucket: str, key: str) -> list[tuple[str, bytes]]:
    """Every request that is tried, with its name."""
    made = []
    for method, path in PATHS:
        for header in HEADERS[: 1 if method == "OPTIONS" else None]:
            line = f"{method} {path.format(bucket=bucket, key=key)}"
            body = "" if method in ("GET", "OPTIONS") else "evil"
            text = (
                f"{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: {EVIL}\r\nAccess-Control-Request-Method: PUT\r\n"
                f"{header}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
            )
            made.append((f"{line} {header.strip()}", text.encode()))
    return made


def contexts(stranger: dict[str, str]) -> dict[str, ssl.SSLContext | None]:
    """Without TLS, with TLS and no certificate, with one of another authority."""
    bare = ssl.create_default_context()
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    false = ssl.create_default_context()
    false.check_hostname, false.verify_mode = False, ssl.CERT_NONE
    with tempfile.TemporaryDirectory() as folder:
        for name, text in stranger.items():
            Path(folder, name).write_text(text)
        false.load_cert_chain(Path(folder, "server.pem"), Path(folder, "server.key"))
    for context in (bare, false):
        context.set_alpn_protocols(["h2", "http/1.1"])
    return {"plain": None, "TLS": bare, "TLS with another's certificate": false}


def main() -> None:
    """Reads the doors, tries them all, prints what they answered."""
    told = json.load(sys.stdin)
    # Names of hosts need this module, which the other user may not be able to read.
    "127.0.0.1".encode("idna")
    if told["user"] is not None:
        os.setgroups([])
        os.setgid(told["user"])
        os.setuid(told["user"])
    found = []
    for how, context in contexts(told["stranger"]).items():
        for name, port in told["ports"].items():
            # A part that ends the handshake has seen no request: a few are enough.
            tried = requests(told["bucket"], told["key"]) if context is None or name == "s3" else []
            # The S3 port answers everything, however busy the machine is; the others may say nothing for ever.
            patience_s = 60.0 if context is None and name == "s3" else 3.0
            for what, sent in [*(tried or requests(told["bucket"], told["key"])[:3]), ("gRPC", PREFACE)]:
                found.append((name, how, what, talk(port, sent, context, patience_s)))
    for path in told["paths"]:
        try:
            if path.endswith(".sock"):
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(path)
            else:
                Path(path).open("rb").close()
            answer = "opened"
        except OSError as error:
            answer = f"refused: {error}"
        found.append(("file", "", path, answer))
    print(json.dumps(found))


main()
