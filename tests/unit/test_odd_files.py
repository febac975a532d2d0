"""Files with something odd in them that is no picture: a tag is of no interest, an odd file is refused alone."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from tests.support.recordings import extract, noise, write
from touchline.errors import BadInputError, ServiceError
from touchline.video import opening
from touchline.video.opening import probe, probe_file

TAG = "Caf__ match"
LATIN = b"Caf\xe9\xff match"
"""The same in an encoding that is none of the container's."""


def tagged(path: Path, tag: Callable[[Any, Any], None]) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        tag(container, stream)
        for index, image in enumerate(noise(10)):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    assert TAG.encode() in data
    path.write_bytes(data.replace(TAG.encode(), LATIN))
    return path


def of_the_file(container: Any, stream: Any) -> None:
    container.metadata["title"] = TAG


def of_the_stream(container: Any, stream: Any) -> None:
    stream.metadata["handler_name"] = stream.metadata["title"] = TAG


def of_a_chapter(container: Any, stream: Any) -> None:
    container.set_chapters(
        [{"id": 1, "start": 0, "end": 400, "time_base": Fraction(1, 1000), "metadata": {"title": TAG}}]
    )


def of_the_program(container: Any, stream: Any) -> None:
    container.metadata["service_name"] = TAG


@pytest.mark.parametrize(
    ("suffix", "tag"),
    [
        *((suffix, of_the_file) for suffix in ("avi", "mp4", "mkv", "mov", "nut")),
        *((suffix, of_the_stream) for suffix in ("mp4", "mkv", "mov")),
        *((suffix, of_a_chapter) for suffix in ("mkv", "mp4")),
        ("ts", of_the_program),
    ],
)
def test_a_tag_in_any_encoding_is_of_no_interest(tmp_path: Path, suffix: str, tag: Callable[[Any, Any], None]) -> None:
    path = tagged(tmp_path / f"a.{suffix}", tag)
    assert (probe(path).width, probe(path).height) == (64, 48)
    frames, _, stats, _ = extract(path)
    assert len(frames) == 1 and stats["warnings"] == []
    with path.open("rb") as file:
        assert probe_file(file, path) == probe(path)


@pytest.mark.parametrize(
    "error",
    [
        UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "odd"),
        ValueError("odd"),
        KeyError("odd"),
        OSError(5, "odd"),
        MemoryError(),
    ],
)
def test_whatever_goes_wrong_in_looking_into_a_file_is_its_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    path = write(tmp_path / "odd.mp4", noise(5))

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(opening, "picture_stream", fail)
    with pytest.raises(BadInputError, match=r"odd\.mp4.*reading it failed") as caught:
        probe(path)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [ServiceError("the store is gone"), FileNotFoundError("object gone"), ConnectionError("cut")]
)
def test_a_store_that_fails_while_a_file_is_looked_into_is_not_the_files_fault(
    tmp_path: Path, error: Exception
) -> None:
    data = write(tmp_path / "a.mp4", noise(5)).read_bytes()

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if size != 16:  # past the first look
                raise error
            return super().read(size)

    with pytest.raises(type(error)):
        probe_file(Failing(data), Path("a.mp4"))
