"""Which packets hold pictures that others are predicted from: as the decoders have it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import av
import pytest

from tests.support.recordings import noise, write
from touchline.video.predicted_pictures import PredictedPictures, Role

X265 = "log-level=none:scenecut=0:bframes=3:keyint=30"


def roles(path: Path) -> tuple[Counter[Role], int]:
    """(what the packets' pictures are, how many frames come out where those are left out that nobody needs)."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        pictures = PredictedPictures(context.name, bytes(context.extradata or b""))
        context.skip_frame = "NONREF"
        found: Counter[Role] = Counter()
        frames = 0
        for packet in container.demux(stream):
            if packet.size:
                found[pictures.role(bytes(packet))] += 1
            frames += len(context.decode(packet if packet.size else None))
        return found, frames


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("mp4", "libx264", {"x264-params": "scenecut=0:b-adapt=0:b-pyramid=normal", "bf": "3"}),
        ("ts", "libx264", {"x264-params": "scenecut=0:b-adapt=0:b-pyramid=none:slices=3:aud=1", "bf": "3"}),
        ("mkv", "libx264", {"x264-params": "interlaced=1:scenecut=0:b-adapt=0:open-gop=1"}),
        ("mp4", "libx265", {"crf": "24", "x265-params": X265}),
        ("ts", "libx265", {"crf": "24", "x265-params": f"{X265}:open-gop=1:b-pyramid=1:aud=1"}),
        ("mkv", "libx265", {"crf": "24", "x265-params": f"{X265}:open-gop=0:radl=2:temporal-layers=3"}),
        ("mpg", "mpeg2video", {"b": "3000000"}),
        ("ts", "mpeg2video", {"b": "3000000", "flags": "+ildct+ilme"}),
        ("mpg", "mpeg1video", {"b": "3000000"}),
    ],
)
def test_those_are_referenced_that_decoders_never_leave_out(
    tmp_path: Path, suffix: str, codec: str, options: dict[str, str]
) -> None:
    found, frames = roles(write(tmp_path / f"a.{suffix}", noise(60), codec=codec, options=options))
    assert found[Role.REFERENCED] == frames < 60
    assert found[Role.UNREFERENCED] == 60 - frames


@pytest.mark.parametrize("codec", ["h264", "hevc", "mpeg2video"])
@pytest.mark.parametrize("packet", [b"", b"\0\0\1", bytes(40), b"\xff" * 40])
def test_of_packets_without_their_headers_nothing_is_known(codec: str, packet: bytes) -> None:
    assert PredictedPictures(codec, b"").role(packet) is Role.UNKNOWN
    assert PredictedPictures(codec, b"\1").role(packet) is Role.UNKNOWN


@pytest.mark.parametrize(("fields", "role"), [(1, Role.ONE_FIELD), (2, Role.REFERENCED)])
def test_a_packet_may_hold_a_field_of_mpeg2(fields: int, role: Role) -> None:
    header = b"\0\0\1\0\0\x08\xff\xf8" + b"\0\0\1\xb5\x8f\xff\xf1\x80"
    assert PredictedPictures("mpeg2video", b"").role(header * fields) is role
