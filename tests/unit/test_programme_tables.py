"""How the pictures of a transport stream are coded, by its tables, whole or damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.recordings import TS_PACKET, joined, noise, write
from touchline.video.programme_tables import ProgrammeTables

PID = 256
END = 1 << 40


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recording in H.264, and one in MPEG-2."""
    folder = tmp_path_factory.mktemp("parts")
    return write(folder / "a.ts", noise(10)), write(folder / "b.ts", noise(10), codec="mpeg2video")


def test_the_codec_is_known_place_by_place(tmp_path: Path, parts: tuple[Path, Path]) -> None:
    first, second = parts
    path = joined(tmp_path / "air.ts", first, second, first)
    tables = ProgrammeTables(path, PID)
    middle, end = first.stat().st_size, first.stat().st_size + second.stat().st_size
    places = [0, 4 * TS_PACKET, middle - 1, middle + 4 * TS_PACKET, end - 1, end + 4 * TS_PACKET, END]
    assert [tables.codec(place) for place in places] == [None, "H.264", "H.264", "MPEG-2", "MPEG-2", "H.264", "H.264"]


@pytest.mark.parametrize(("before", "behind"), [(4, 0), (0, 16)], ids=["192 bytes", "204 bytes"])
def test_packets_may_carry_something_before_or_behind(
    tmp_path: Path, parts: tuple[Path, Path], before: int, behind: int
) -> None:
    data = b"".join(part.read_bytes() for part in parts)
    packets = [data[at : at + TS_PACKET] for at in range(0, len(data), TS_PACKET)]
    path = tmp_path / "air.m2ts"
    path.write_bytes(b"".join(bytes(before) + packet + bytes(behind) for packet in packets))
    assert ProgrammeTables(path, PID).codec(END) == "MPEG-2"


def test_what_is_lost_in_between_does_no_harm(tmp_path: Path, parts: tuple[Path, Path]) -> None:
    data = b"".join(part.read_bytes() for part in parts)
    path = tmp_path / "air.ts"
    path.write_bytes(b"\x47junk" * 30 + data[:3000] + data[3100:5000] + bytes(900) + data[5000:])
    assert ProgrammeTables(path, PID).codec(END) == "MPEG-2"


def test_a_damaged_table_changes_nothing(tmp_path: Path, parts: tuple[Path, Path]) -> None:
    data = bytearray(parts[0].read_bytes())
    packets = range(0, len(data), TS_PACKET)
    tables = [at for at in packets if data[at + 1] & 31 == 0x10 and data[at + 2] == 0]
    assert len(tables) > 1
    for at in tables[1:]:
        # The kind of the only stream of the programme.
        data[at + data[at : at + TS_PACKET].index(b"\x1b\xe1\0")] = 0x24
    path = tmp_path / "air.ts"
    path.write_bytes(data)
    assert ProgrammeTables(path, PID).codec(END) == "H.264"


@pytest.mark.parametrize("data", [b"", b"\x47", b"\x47" * 5000, bytes(100_000)])
def test_what_is_no_transport_stream_tells_nothing(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "air.ts"
    path.write_bytes(data)
    assert ProgrammeTables(path, PID).codec(END) is None
