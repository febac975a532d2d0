"""Access control of the embedded object store: mutual TLS, the check of its ports, and file permissions.

Belongs here: certificates, the server's configuration, the check that each port refuses unauthenticated clients, and
files that the server creates outside its folders. `object_server.py` starts and stops the server.

SeaweedFS has one port for S3, with signed requests, and an HTTP and a gRPC port for each of its parts, without any
authentication by default. The configuration written here requires a client certificate on those. The private key of the
certificate authority exists in memory during `write` only, so no further certificate can be issued.
"""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import json
import os
import shutil
import socket
import ssl
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resources.embedded import processes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

PARTS: Final = ("master", "volume", "filer", "admin")
"""Internal parts of the server, each with an HTTP and a gRPC port."""
GRPC: Final = (*PARTS, "s3", "worker", "client")
"""Sections of the configuration with a gRPC certificate, of a server or a client."""
NOWHERE: Final = "http://nowhere.invalid"
"""The only origin that CORS allows: the top-level domain `.invalid` is reserved and never resolves."""
ALWAYS: Final = (datetime.datetime(2000, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59))
"""Validity of the certificates. They are issued at every start, and must be valid with a wrong clock too."""
SOCKETS: Final = Path("/tmp")  # noqa: S108 -- not our choice
"""Folder of SeaweedFS's gRPC sockets. The path is hard-coded in SeaweedFS and ignores TMPDIR."""
AUTHORITY: Final = "authority.pem"
"""File name of the certificate of the authority."""
CONFIGURATION: Final = "security.toml"
"""File name of SeaweedFS's security configuration."""
S3_KEYS: Final = "s3.json"
"""File name of the S3 access keys."""


def write(folder: Path, access_key: str, secret_key: str) -> None:
    """Issues new certificates and writes them, the configuration and the S3 keys into `folder`, for the owner only.

    The server finds `security.toml` because `folder` is its working directory.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("touchline authority", authority_key, authority_key, None)
    certificate = _certificate("touchline server", key, authority_key, authority)
    pem = key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    processes.write_for_owner(folder / AUTHORITY, authority.public_bytes(Encoding.PEM).decode())
    processes.write_for_owner(folder / "server.pem", certificate.public_bytes(Encoding.PEM).decode())
    processes.write_for_owner(folder / "server.key", pem.decode())
    processes.write_for_owner(folder / CONFIGURATION, configuration())
    identity = {
        "name": "touchline",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin"],
    }
    processes.write_for_owner(folder / S3_KEYS, json.dumps({"identities": [identity]}))


def configuration() -> str:
    """`security.toml`: mutual TLS for every part, over HTTP and gRPC. Paths are relative to the working directory."""
    files = 'cert = "server.pem"\nkey = "server.key"\n'
    authority = f'ca = "{AUTHORITY}"\n'
    sections = [f"[grpc]\n{authority}", *(f"[grpc.{name}]\n{files}" for name in GRPC)]
    sections += [f"[https.{name}]\n{files}{authority}" for name in PARTS]
    sections.append(f"[https.client]\nenabled = true\n{files}{authority}")
    sections.append(f'[cors.allowed_origins]\nvalues = "{NOWHERE}"\n')
    return "\n".join(sections)


def unprotected_ports(folder: Path, ports: Mapping[str, int]) -> list[str]:
    """A sentence for each port that accepts unauthenticated clients or could not be checked.

    `ports` are by name ("s3", "filer", "filer.grpc", ...). Every port is checked, because SeaweedFS runs without TLS if
    it cannot read a certificate.
    """
    found = []
    for name, port in ports.items():
        if name == "s3":
            if (answer := _anonymous(port)) != "403":
                found.append(f"its S3 port {port} answered {answer} to a request without a signature, expected 403")
        elif why := _no_client_auth(port, folder / AUTHORITY):
            found.append(f"its port {port} ({name}) {why}, expected it to ask for a certificate")
    return found


def sockets(ports: Mapping[str, int]) -> list[Path]:
    """The socket files that a server on these ports creates in SOCKETS."""
    names = [
        SOCKETS / f"seaweedfs-{name[:-5]}-grpc-{port}.sock" for name, port in ports.items() if name[-5:] == ".grpc"
    ]
    # Of servers that earlier versions of Touchline started.
    return [*names, *(SOCKETS / f"seaweedfs-{name}-{ports[name]}.sock" for name in ("filer", "s3") if name in ports)]


def remove_sockets(ports: Mapping[str, int]) -> None:
    """Removes the sockets of a stopped server, but no other files and no files of other users."""
    for path in sockets(ports):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISSOCK(status.st_mode) and status.st_uid == os.geteuid():
            path.unlink(missing_ok=True)


def sockets_taken(ports: Mapping[str, int]) -> bool:
    """Whether a path of a socket of a server on these ports exists, so that the server could not start."""
    return any(os.path.lexists(path) for path in sockets(ports))


def prepare(private: Path, data: Path, log: Path) -> None:
    """Creates the server's folders and `log` for the owner only, and closes those of earlier versions.

    Logs and temporary files of earlier starts are deleted; `log` is kept.
    """
    for folder in (private / "tmp", private / "log"):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (data, private, private / "tmp", private / "log"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    log.touch(mode=0o600)
    log.chmod(0o600)
    close_tree(data)


def close_tree(folder: Path) -> None:
    """Removes the permissions of other users from everything in a folder."""
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and mode & 0o077:
            path.chmod(stat.S_IMODE(mode) & 0o700)


def _certificate(
    name: str, key: EllipticCurvePrivateKey, signer: EllipticCurvePrivateKey, issuer: Certificate | None
) -> Certificate:
    """A self-signed certificate of an authority, or with `issuer` one for a server on 127.0.0.1 and its client."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ALWAYS[0])
        .not_valid_after(ALWAYS[1])
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=0 if issuer is None else None), True)
    )
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
    signs, authority = issuer is not None, issuer is None
    made = made.add_extension(x509.KeyUsage(signs, False, False, False, False, authority, False, False, False), True)
    if issuer is not None:
        here = x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))
        uses = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
        made = made.add_extension(x509.SubjectAlternativeName([here]), False)
        made = made.add_extension(x509.ExtendedKeyUsage(uses), False)
    return made.sign(signer, hashes.SHA256())


def _no_client_auth(port: int, authority: Path) -> str:
    """Why a port does not require a client certificate, in words; empty if it does."""
    context = ssl.create_default_context(cafile=str(authority))
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            # With TLS 1.3 the refusal comes after the handshake, in place of an answer.
            secure.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            secure.recv(1)
    except ssl.SSLError as error:
        return "" if "CERTIFICATE_REQUIRED" in str(error.reason) else f"failed at TLS ({error.reason})"
    except OSError as error:
        return f"could not be tried ({error})"
    return "talked to a client without a certificate"


def _anonymous(port: int) -> str:
    """The HTTP status of an unsigned request for the list of buckets, or why there was no response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return str(connection.getresponse().status)
    except (OSError, http.client.HTTPException) as error:
        return f"nothing ({error})"
    finally:
        connection.close()
