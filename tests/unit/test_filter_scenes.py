"""`filter_scenes`: cuts, black, blurred and duplicate frames, on rendered pictures and, where present, real footage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import bson
import cv2
import numpy as np
import pytest

from touchline.stages.extract_frames import ExtractFrames, ExtractFramesConfig
from touchline.stages.filter_scenes import FilterScenes, FilterScenesConfig, deserialize, serialize
from touchline.synthetic import CLIP, DEMO, Broadcast, BroadcastSpec
from touchline.values import Chunk, Image, SampledFrame, SceneFrame
from touchline.video.opening import decode_frame

FOOTAGE = Path(__file__).resolve().parents[3] / "shared" / "footage"


def chunk_of(images: Sequence[Image], first: int = 0, chunk_id: int = 0) -> Chunk:
    frames = tuple(
        SampledFrame(first + i, chunk_id, (first + i) / 2, first + i, (1, 2), image.shape[1], image.shape[0], "", "", 0)
        for i, image in enumerate(images)
    )
    return Chunk(chunk_id, frames, lambda sequence, lines=None: images[sequence - first])


def judge(images: Sequence[Image], **settings: Any) -> list[SceneFrame]:
    return FilterScenes(FilterScenesConfig(**settings)).run_chunk(chunk_of(images))


def sampled(spec: BroadcastSpec) -> list[Image]:
    """A broadcast at two frames a second."""
    broadcast = Broadcast(spec)
    return [broadcast.frame(i).image for i in range(0, spec.frames, (spec.fps + 1) // 2)]


@pytest.fixture(scope="module")
def clip() -> list[Image]:
    return sampled(CLIP)


def test_the_cut_to_the_close_up_is_found_and_the_pan_is_none(clip: list[Image]) -> None:
    documents = judge(clip)
    assert [d.shot for d in documents] == [0 if d.timestamp < 3.95 else 1 for d in documents]
    assert all(d.kept and d.reason == "" for d in documents)
    assert deserialize(bson.decode(bson.encode(serialize(documents[-1])))) == documents[-1]


def test_a_fast_pan_is_no_cut() -> None:
    shot = replace(CLIP.shots[0], pan=(-24.0, 24.0), focal=(3.0, 3.0))
    images = sampled(replace(CLIP, shots=(shot,), duration_s=4.0, width=480, height=270))
    assert {d.shot for d in judge(images)} == {0}


def test_going_on_from_the_state_gives_what_one_run_gives(clip: list[Image]) -> None:
    images = [*clip, clip[-1], clip[-1], np.zeros_like(clip[0]), clip[0], clip[0]]
    whole = judge(images)
    for split in (1, 4, len(clip) + 1, len(clip) + 3, len(images) - 1):
        first = FilterScenes(FilterScenesConfig())
        documents = first.run_chunk(chunk_of(images[:split]))
        state = bson.decode(bson.encode(first.state()))
        second = FilterScenes(FilterScenesConfig(), state)
        documents += second.run_chunk(chunk_of(images[split:], split, 1))
        assert documents == whole
        assert second.stats()["frames"] == len(images)


def test_a_still_picture_is_kept_once_and_stands_for_the_rest(clip: list[Image]) -> None:
    documents = judge([clip[0]] * 4 + [clip[1]])
    assert [d.kept for d in documents] == [True, False, False, False, True]
    assert [d.represented_by for d in documents] == [None, 0, 0, 0, None]
    assert {d.reason for d in documents[1:4]} == {"duplicate"}


def test_a_board_that_changes_in_a_still_picture_is_no_duplicate() -> None:
    still = replace(CLIP.shots[0], pan=(0.0, 0.0), focal=(2.2, 2.2))
    spec = replace(CLIP, shots=(still,), players=0, grain=0.0, width=1280, height=720)
    broadcast = Broadcast(spec)
    before, after = broadcast.frame(48).image, broadcast.frame(50).image
    documents = judge([before, before, after, after])
    assert [d.reason for d in documents] == ["", "duplicate", "", "duplicate"]
    assert documents[3].represented_by == 2


def test_noise_of_compression_leaves_a_duplicate_a_duplicate(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    still = Broadcast(replace(DEMO, grain=0.0)).frame(10).image
    with av.open(str(tmp_path / "still.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 720, 1280, "yuv420p"
        stream.options = {"crf": "23", "preset": "veryfast", "g": "25"}
        for _ in range(30):
            noisy = np.clip(still + rng.normal(0, 1.5, (720, 1280, 1)), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, format="bgr24")))
        container.mux(stream.encode(None))
    with av.open(str(tmp_path / "still.mp4")) as container:
        images = [frame.to_ndarray(format="bgr24").astype(np.uint8) for frame in container.decode(video=0)]
    assert [d.reason for d in judge([images[0], images[13], images[-1]])] == ["", "duplicate", "duplicate"]


def test_black_frames_go_and_what_follows_is_a_new_shot(clip: list[Image]) -> None:
    black = np.full_like(clip[0], 6)
    documents = judge([clip[0], black, black, clip[0]])
    assert [d.reason for d in documents] == ["", "black", "black", ""]
    assert [d.represented_by for d in documents] == [None] * 4
    assert documents[3].shot > documents[0].shot


def test_white_letters_on_black_stay(clip: list[Image]) -> None:
    title = np.zeros_like(clip[0])
    cv2.putText(title, "QATAR AIRWAYS", (200, 180), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1)
    assert [d.kept for d in judge([title])] == [True]


def test_only_a_frame_in_which_nothing_can_be_made_out_is_blurred(clip: list[Image]) -> None:
    smeared = np.asarray(cv2.GaussianBlur(clip[2], (0, 0), 9), np.uint8)
    soft = np.asarray(cv2.GaussianBlur(clip[2], (0, 0), 1.2), np.uint8)
    documents = judge([clip[0], clip[1], smeared, soft, clip[3]])
    assert [d.reason for d in documents] == ["", "", "blur", "", ""]
    assert documents[2].represented_by is None


def test_a_shot_that_is_soft_throughout_is_kept(clip: list[Image]) -> None:
    soft = [np.asarray(cv2.GaussianBlur(image, (0, 0), 9), np.uint8) for image in clip[:4]]
    assert "blur" not in {d.reason for d in judge(soft)}


def test_an_image_alone_and_an_empty_chunk(clip: list[Image]) -> None:
    assert [(d.shot, d.kept) for d in judge([clip[0]])] == [(0, True)]
    assert judge([]) == []


@pytest.mark.skipif(not FOOTAGE.is_dir(), reason="the real footage is not beside this checkout")
@pytest.mark.parametrize(
    ("name", "starts"),
    [
        ("jason_messi.mp4", [0.0, 0.5, 1.5, 5.5, 6.0, 8.5, 10.5, 12.5, 14.0, 15.5, 18.0, 18.5, 21.0, 26.5, 27.0]),
        ("jpcedano_messi.mp4", [0.0, 0.5, 4.5]),
        ("mosa_soccer.mp4", [0.0, 5.0]),
        ("lorenzo_match.mp4", [0.0]),
        ("dfl.mp4", [0.0]),
        ("dhruvil_football.mp4", [0.0]),
        ("neg/crowd_pan.mp4", [0.0]),
    ],
)
def test_cuts_of_real_footage(name: str, starts: list[float]) -> None:
    pictures: dict[int, bytes] = {}

    def save(sequence: int, jpeg: bytes) -> str:
        pictures[sequence] = jpeg
        return str(sequence)

    known: dict[int, SampledFrame] = {}

    def load(sequence: int, lines: int | None = None, /) -> Image:
        image = decode_frame(pictures[sequence], known[sequence], lines)
        assert image is not None
        return image

    worker = FilterScenes(FilterScenesConfig())
    for chunk_id, frames in ExtractFrames(FOOTAGE / name, ExtractFramesConfig(), save=save).chunks():
        known |= {frame.sequence: frame for frame in frames}
        worker.run_chunk(Chunk(chunk_id, tuple(frames), load))
    assert worker.stats()["shot_starts_s"] == pytest.approx(starts, abs=0.06)
    assert worker.stats()["blur"] == 0 and json.dumps(worker.stats())
