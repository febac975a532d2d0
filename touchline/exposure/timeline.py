"""The timeline: the time span that each kept frame represents.

Belongs here: the rule by which samples become time.

- A sampled frame is on screen from its own time until the video's next frame.
- If the next frame is also the next sample, as in a slide show, the first sample ends there.
- If frames between two samples were skipped, the time from the first skipped frame to the next sample is split in half
  between the two samples, because a brand may appear or disappear at any of these frames. The error is at most half a
  sampling interval.
- The last sample lasts until the end of the video.
- No sample represents time whose pictures are not decoded.
- A kept frame also represents the frames that name it in `represented_by`. Black and blurred frames represent nothing.
- A still picture has one sample without a duration.

Between samples without `shown_until` the whole time between them is split in half.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise

from touchline.errors import CheckpointError
from touchline.exposure.intervals import ZERO, Span, Spans, bridge, exact, union
from touchline.values import SampledFrame, SceneFrame

_SAME_CLOCK = Fraction(1, 100_000)
"""Largest difference between the presentation time and `timestamp`, which is rounded to microseconds [s]."""


class Timeline:
    """The samples of one source as time spans.

    `duration_s` is the decoded duration of the video [s]; if it is 0 (unknown), the last sample lasts 1 / `sample_fps`.
    Raises CheckpointError if a scene is of a frame that was not sampled. Memory: a few numbers per sample.

    The attribute `duration` is the exact duration [s], never before the last sample. `sampled` and `kept` are numbers
    of frames.
    """

    def __init__(
        self,
        frames: Iterable[SampledFrame],
        scenes: Iterable[SceneFrame],
        *,
        duration_s: float,
        sample_fps: float,
        is_image: bool = False,
    ) -> None:
        starts: dict[int, Fraction] = {}
        ends: dict[int, Fraction] = {}
        missing: dict[int, Fraction] = {}
        self._sizes: dict[int, tuple[int, int]] = {}
        first: SampledFrame | None = None
        for frame in frames:
            first = first or frame
            starts[frame.sequence] = _time(frame, first)
            ends[frame.sequence] = starts[frame.sequence] if frame.shown_until is None else exact(frame.shown_until)
            if frame.missing_since is not None:
                missing[frame.sequence] = exact(frame.missing_since)
            self._sizes[frame.sequence] = (frame.width, frame.height)
        self.sampled = len(starts)
        last = max(starts.values(), default=ZERO)
        hold = ZERO if is_image or sample_fps <= 0 else 1 / Fraction(sample_fps).limit_denominator(100_000)
        unknown = duration_s <= 0
        self.duration = last + hold if unknown and starts else max(exact(duration_s), last)
        self._starts = starts
        self._spans = _spans(starts, ends, missing, self.duration)
        self._moments, self._shots, self.kept = self._represented(scenes)

    def _represented(self, scenes: Iterable[SceneFrame]) -> tuple[dict[int, list[tuple[int, Span]]], list[Span], int]:
        """((shot, span)s that each kept frame represents, by sequence; spans of the shots; number of kept frames)."""
        moments: dict[int, list[tuple[int, Span]]] = defaultdict(list)
        shots: dict[int, Span] = {}
        kept = 0
        for scene in scenes:
            span = self._span(scene.sequence, "filter_scenes")
            shot = shots.get(scene.shot, span)
            shots[scene.shot] = (min(shot[0], span[0]), max(shot[1], span[1]))
            kept += scene.kept
            representative = scene.sequence if scene.kept else scene.represented_by
            if representative is not None:
                moments[representative].append((scene.shot, span))
        return dict(moments), sorted(shots.values()), kept

    def _span(self, sequence: int, stage: str) -> Span:
        if sequence not in self._spans:
            raise CheckpointError(
                f"{stage} has a document of frame {sequence}, which extract_frames did not sample: the checkpoints do "
                f"not belong together. Replay this source from {stage}, or name one job to read all of them from."
            )
        return self._spans[sequence]

    def size(self, sequence: int) -> tuple[int, int]:
        """Width and height of a stored frame [px]. Raises CheckpointError if there is no such frame."""
        self._span(sequence, "match_brands")
        return self._sizes[sequence]

    def time(self, sequence: int) -> Fraction:
        """Time at which a sampled frame is first on screen [s]. Raises CheckpointError if there is no such frame."""
        self._span(sequence, "match_brands")
        return self._starts[sequence]

    def moments(self, sequence: int) -> Sequence[tuple[int, Span]]:
        """(shot, span) of all samples that the kept frame represents.

        A frame without a scene represents only itself, with shot -1. Raises CheckpointError if there is no such frame.
        """
        return self._moments.get(sequence) or [(-1, self._span(sequence, "match_brands"))]

    def seconds(self, sequence: int) -> Fraction:
        """Total time that the kept frame represents [s]. Raises as `moments` does."""
        return sum((end - start for _, (start, end) in self.moments(sequence)), ZERO)

    def on_screen(self, sequences: Iterable[int], gap: Fraction) -> Spans:
        """The time that these kept frames represent, with gaps of at most `gap` [s] within a shot bridged."""
        by_shot: dict[int, list[Span]] = defaultdict(list)
        for sequence in sequences:
            for shot, span in self.moments(sequence):
                by_shot[shot].append(span)
        return union(*(bridge(spans, gap) for spans in by_shot.values()))

    def cuts(self) -> list[Fraction]:
        """Times at which one shot ends and the next begins [s]."""
        return [start for start, _ in self._shots[1:]]


def _time(frame: SampledFrame, first: SampledFrame) -> Fraction:
    """Time since the first sample, which is the video's first frame [s]; exact if the presentation times are steady."""
    stamp = exact(frame.timestamp)
    if frame.time_base == first.time_base and frame.time_base[1]:
        time = (frame.pts - first.pts) * Fraction(*frame.time_base) + exact(first.timestamp)
        if abs(time - stamp) < _SAME_CLOCK:
            return time
    return stamp


def _spans(
    starts: Mapping[int, Fraction], ends: Mapping[int, Fraction], missing: Mapping[int, Fraction], end: Fraction
) -> dict[int, Span]:
    """The span of each sample, by sequence.

    `ends`: when the next frame of the video is shown, or the sample's own time if that is unknown. `missing`: since
    when the pictures before the sample are not decoded.
    """
    if not starts:
        return {}
    ordered = sorted(starts.items(), key=lambda item: item[1])
    begins, until = {ordered[0][0]: ordered[0][1]}, {ordered[-1][0]: end}
    for (sequence, start), (following, after) in pairwise(ordered):
        if following in missing:
            until[sequence], begins[following] = min(max(missing[following], start), after), after
        else:
            until[sequence] = begins[following] = _border(ends[sequence], start, after)
    return {sequence: (begins[sequence], until[sequence]) for sequence, _ in ordered}


def _border(until: Fraction, start: Fraction, after: Fraction) -> Fraction:
    """The end of a sample that starts at `start` and is shown `until`, if the next sample starts at `after`."""
    return after if abs(after - until) < _SAME_CLOCK else (min(max(until, start), after) + after) / 2
