"""Files that go on behind the recording that is read from them: what is not looked at is told, and how much it is."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.recordings import joined, noise, played, write

NOISE = random.Random(3).randbytes(100_000)


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


@pytest.mark.parametrize(
    ("name", "muxer"),
    [
        ("a.flv", {}),
        ("a.mp4", {}),
        ("a.mov", {"movflags": "faststart"}),
        ("a.mp4", {"movflags": "frag_keyframe+empty_moov"}),
    ],
)
@pytest.mark.parametrize("second", ["b.mp4", "b.flv", "b.mkv"])
def test_of_files_joined_byte_by_byte_it_is_told_what_is_not_looked_at(
    tmp_path: Path, name: str, muxer: dict[str, str], second: str
) -> None:
    first = write(tmp_path / name, noise(50), muxer=muxer, sound_s=2.0 if name == "a.mp4" and not muxer else 0.0)
    other = write(tmp_path / second, noise(25, (96, 64)))
    path = joined(tmp_path / f"joined{first.suffix}", first, other)
    _, stats, _ = played(path)
    assert stats["duration_s"] == pytest.approx(2.0, abs=0.03)
    assert stats["unread_bytes"] == other.stat().st_size
    (warning,) = stats["warnings"]
    assert warning.startswith(f"{path.name}: the file is joined from several recordings")
    assert f"{other.stat().st_size:,} bytes" in warning and "not analysed" in warning


def test_fragments_that_are_joined_are_counted_once(tmp_path: Path) -> None:
    part = write(tmp_path / "a.mp4", noise(50), muxer={"movflags": "frag_keyframe+empty_moov"})
    _, stats, _ = played(joined(tmp_path / "joined.mp4", part, part))
    assert stats["duration_s"] == pytest.approx(2.0, abs=0.01) and stats["clock_steps"] == []
    assert stats["unread_bytes"] == part.stat().st_size


@pytest.mark.parametrize("suffix", ["ts", "mkv", "avi"])
def test_what_is_read_to_its_end_though_it_is_joined_is_not_told(tmp_path: Path, suffix: str) -> None:
    part = write(tmp_path / f"a.{suffix}", noise(50), codec="mpeg4" if suffix == "avi" else "libx264")
    _, stats, _ = played(joined(tmp_path / f"joined.{suffix}", part, part))
    assert stats["duration_s"] == pytest.approx(4.0, abs=0.03) and stats["unread_bytes"] == 0


@pytest.mark.parametrize("suffix", ["mp4", "flv", "mkv", "ts"])
@pytest.mark.parametrize(
    "end",
    [
        b"TAG" + b"Derby d'Italia, live".ljust(125),
        bytes(100_000),
        box(b"free", NOISE),
        box(b"uuid", NOISE),
        b"\0\0\x01\0SEFH" + NOISE[:200] + b"SEFT",
    ],
    ids=["a tag", "room that is reserved", "a free box", "metadata", "a camera's notes"],
)
def test_what_cameras_and_tools_append_is_not_told(tmp_path: Path, suffix: str, end: bytes) -> None:
    path = write(tmp_path / f"a.{suffix}", noise(25))
    path.write_bytes(path.read_bytes() + end)
    _, stats, _ = played(path)
    assert stats["warnings"] == [] and stats["unread_bytes"] == 0


@pytest.mark.parametrize("end", [NOISE, box(b"ftyp", b"isom") + box(b"free", NOISE)], ids=["noise", "no pictures"])
def test_much_at_the_end_that_is_no_recording_is_told(tmp_path: Path, end: bytes) -> None:
    path = write(tmp_path / "a.mp4", noise(25))
    path.write_bytes(path.read_bytes() + end)
    _, stats, _ = played(path)
    assert stats["unread_bytes"] == len(end)
    (warning,) = stats["warnings"]
    assert f"{len(end):,} bytes" in warning and "belongs to no recording" in warning
