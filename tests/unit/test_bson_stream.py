"""The form of stage outputs: what goes in comes out, and nothing damaged is ever taken for whole."""

from __future__ import annotations

import io
import math
import uuid
from datetime import UTC, datetime
from typing import Any

import bson
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from touchline.bson_stream import Document, StreamHeader, read_header, read_stream, write_stream
from touchline.errors import CheckpointError

KEY = "checkpoints/x/stages/run_ocr.bson"
HEADER = StreamHeader("run_ocr", "job", "source", "f" * 64, datetime(2026, 1, 2, tzinfo=UTC), extra={"state": {"n": 1}})

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcé.$", min_size=1), inner, max_size=4),
    max_leaves=12,
)
documents = st.lists(st.dictionaries(st.text("abcdé", min_size=1), values, max_size=4), max_size=5)


def written(items: list[Document], header: StreamHeader = HEADER) -> bytes:
    with io.BytesIO() as file:
        assert write_stream(file, header, iter(items)) == len(items)
        return file.getvalue()


def read(raw: bytes, stage: str = "run_ocr") -> list[Document]:
    return list(read_stream(io.BytesIO(raw), stage=stage, key=KEY))


@given(documents)
def test_documents_come_back_as_they_went_in(items: list[Document]) -> None:
    assert read(written(items)) == items


@given(documents, st.data())
@settings(max_examples=60)
def test_every_truncation_is_refused_by_name(items: list[Document], data: st.DataObject) -> None:
    raw = written(items)
    length = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(CheckpointError, match=KEY):
        read(raw[:length])


def test_a_stream_cut_between_two_documents_is_refused_too() -> None:
    whole, shorter = written([{"n": 1}, {"n": 2}]), written([{"n": 1}])
    with pytest.raises(CheckpointError, match="truncated before document 1 of 2"):
        read(whole[: len(shorter)])


@given(documents, st.data())
@settings(max_examples=100)
def test_every_flipped_bit_is_refused_by_name(items: list[Document], data: st.DataObject) -> None:
    raw = bytearray(written(items))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CheckpointError, match=KEY):
        read(bytes(raw))


def test_the_header_tells_where_a_stream_belongs() -> None:
    header = read_header(io.BytesIO(written([{"n": 1}, {"n": 2}])), key=KEY)
    assert (header.stage, header.job, header.source, header.fingerprint) == ("run_ocr", "job", "source", "f" * 64)
    assert header.count == 2
    assert header.created_at == datetime(2026, 1, 2, tzinfo=UTC)
    assert header.extra == {"state": {"n": 1}}


def test_any_bson_library_reads_a_stream() -> None:
    header, *rest = bson.decode_file_iter(io.BytesIO(written([{"n": 1}, {"t": "StarCasinò"}])))
    assert (header["format"], header["version"], header["count"]) == ("touchline", 1, 2)
    assert rest == [{"n": 1}, {"t": "StarCasinò"}]


def test_tuples_become_arrays_and_numpy_scalars_numbers() -> None:
    quad = ((1.5, 2.0), (3.0, 4.0))
    identity, now = uuid.uuid4(), datetime(2026, 5, 17, 12, tzinfo=UTC)
    sent = {"q": quad, "f": np.float32(0.5), "i": np.int64(7), "b": np.bool_(True), "id": identity, "at": now}
    (got,) = read(written([sent]))
    assert got == {"q": [[1.5, 2.0], [3.0, 4.0]], "f": 0.5, "i": 7, "b": True, "id": identity, "at": now}
    assert type(got["f"]) is float
    assert math.isnan(read(written([{"x": float("nan")}]))[0]["x"])


@pytest.mark.parametrize(
    ("document", "error"),
    [({"x": np.zeros(3)}, TypeError), ({"x": object()}, TypeError), ({1: "x"}, TypeError), ({"x": 2**64}, ValueError)],
)
def test_what_cannot_be_stored_is_refused_with_its_place(document: Any, error: type[Exception]) -> None:
    with io.BytesIO() as file, pytest.raises(error, match="run_ocr, document 1"):
        write_stream(file, HEADER, [{"n": 0}, document])


def test_a_stream_whose_writing_broke_off_is_refused() -> None:
    def breaks_off() -> Any:
        yield {"n": 1}
        raise KeyboardInterrupt

    with io.BytesIO() as file:
        with pytest.raises(KeyboardInterrupt):
            write_stream(file, HEADER, breaks_off())
        with pytest.raises(CheckpointError, match="never completed"):
            read(file.getvalue())


def test_another_stages_stream_is_refused() -> None:
    with pytest.raises(CheckpointError, match=f"{KEY}: expected the output of match_brands, got that of run_ocr"):
        read_stream(io.BytesIO(written([])), stage="match_brands", key=KEY)


def test_a_newer_version_is_refused() -> None:
    raw = written([])
    newer = raw.replace(b"\x10version\0\x01\0\0\0", b"\x10version\0\x02\0\0\0")
    assert newer != raw
    with pytest.raises(CheckpointError, match="expected format version 1, got 2"):
        read(newer)


@pytest.mark.parametrize("raw", [b"", b"\x89PNG\r\n\x1a\n" * 9, bson.encode({"a": 1}), b"\xff" * 64])
def test_what_is_no_stream_is_refused(raw: bytes) -> None:
    with pytest.raises(CheckpointError, match=KEY):
        read(raw)


def test_what_follows_the_end_is_refused() -> None:
    with pytest.raises(CheckpointError, match="expected the end after 1 documents"):
        read(written([{"n": 1}]) + bson.encode({"n": 2}))
