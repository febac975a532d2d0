"""What must be true of a stage's output: the rules behind the asset checks, as plain functions.

Belongs here: rules that need no more than the values they compare. Where those are read, and when, is in
`detection_assets/checks/`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from touchline.values import BrandDetection

FRAMES_OFF: Final = 0.05
"""Share of the expected frames that may be missing or too many: containers round their length, rates vary."""
FRAMES_OFF_LEAST: Final = 2
"""Frames that may be missing or too many however short the video is."""
ROUNDING_S: Final = 0.002
"""Reports give seconds to the millisecond [s]."""
LISTED: Final = 20
"""Offenders named at most."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a rule holds, in a sentence, with the values that were compared.

    `severe`: going on makes no sense. A rule that is broken mildly is a warning.
    """

    passed: bool
    message: str
    compared: Mapping[str, Any] = field(default_factory=dict)
    severe: bool = True


def frame_count(frames: int, *, duration_s: float, sample_fps: float, fps: float, is_image: bool) -> Verdict:
    """As many frames as the length promises: `duration_s` times the lower of `sample_fps` and the video's own `fps`.

    None at all is severe. An image has one; a length of 0 is one that is not known.
    """
    rate = min(sample_fps, fps) if fps > 0 else sample_fps
    expected = 1 if is_image else round(duration_s * rate)
    compared = {"frames": frames, "expected": expected, "duration_s": duration_s, "sample_fps": sample_fps, "fps": fps}
    if frames == 0:
        return Verdict(False, "no frame was taken: nothing can be seen in this source", compared)
    if not is_image and duration_s <= 0:
        return Verdict(True, f"{frames} frames; the length of the video is not known", compared)
    allowed = max(FRAMES_OFF_LEAST, expected * FRAMES_OFF)
    compared["allowed_difference"] = allowed
    message = f"{frames} frames, expected {expected} of {duration_s:.2f} s at {rate:g} a second"
    return Verdict(abs(frames - expected) <= allowed, message, compared, severe=False)


def frames_kept(sampled: int, kept: int) -> Verdict:
    """At least one frame is left to look at. None is a warning: the report of a black video is rightly empty."""
    message = f"{kept} of {sampled} frames are looked at" if kept else f"none of {sampled} frames can be looked at"
    return Verdict(kept > 0, message, {"sampled": sampled, "kept": kept}, severe=False)


def brands_known(detections: Mapping[str, str], known: Collection[str]) -> Verdict:
    """Every brand that was detected (id to name) is among the known ones (ids)."""
    unknown = {identity: name for identity, name in sorted(detections.items()) if identity not in known}
    compared: dict[str, Any] = {"brands_detected": len(detections), "brands_known": len(known)}
    if not unknown:
        return Verdict(True, f"all {len(detections)} brands are known", compared)
    named = [f"{name} ({identity})" for identity, name in list(unknown.items())[:LISTED]]
    return Verdict(False, f"{len(unknown)} brand(s) are not known: {', '.join(named)}", {**compared, "unknown": named})


def brands_of(documents: Iterable[Any]) -> dict[str, str]:
    """Id and name of every brand among the documents of a matching stage."""
    return {d.brand_id: d.brand_name for d in documents if isinstance(d, BrandDetection)}


def exposure_fits(report: Mapping[str, Any]) -> Verdict:
    """No brand of a report (as in `report.json`) is seen longer than the video lasts, nor alone longer than at all."""
    duration = float(report["duration_s"])
    faults, longest = [], 0.0
    for brand in report["brands"]:
        seconds = float(brand["seconds"])
        longest = max(longest, seconds)
        for what, value in {"in all": seconds, **{f"on {z}": s for z, s in brand["zones"].items()}}.items():
            if not -ROUNDING_S <= float(value) <= duration + ROUNDING_S:
                faults.append(f"{brand['name']}: {float(value):.3f} s {what}")
        if float(brand["solus_seconds"]) > seconds + ROUNDING_S:
            faults.append(f"{brand['name']}: alone for {float(brand['solus_seconds']):.3f} s of {seconds:.3f} s")
    compared = {"duration_s": duration, "longest_exposure_s": longest, "brands": len(report["brands"])}
    return _faults(faults, f"no exposure is longer than the video's {duration:.3f} s", compared)


def intervals_in_order(report: Mapping[str, Any]) -> Verdict:
    """Every brand's intervals rise, do not overlap, lie within the video, and add up to its seconds."""
    duration = float(report["duration_s"])
    faults, count = [], 0
    for brand in report["brands"]:
        before, total = -ROUNDING_S, 0.0
        for start, end in brand["intervals"]:
            count += 1
            total += end - start
            if not before <= start <= end <= duration + ROUNDING_S:
                faults.append(f"{brand['name']}: {start:.3f} to {end:.3f} s, after {max(0.0, before):.3f} s")
            before = end - ROUNDING_S
        allowed = ROUNDING_S * (1 + len(brand["intervals"]))
        if abs(total - float(brand["seconds"])) > allowed:
            faults.append(f"{brand['name']}: intervals of {total:.3f} s, but {float(brand['seconds']):.3f} s in all")
    compared = {"duration_s": duration, "intervals": count, "brands": len(report["brands"])}
    return _faults(faults, f"{count} intervals rise within the video's {duration:.3f} s", compared)


def _faults(faults: list[str], fine: str, compared: dict[str, Any]) -> Verdict:
    if not faults:
        return Verdict(True, fine, compared)
    compared["faults"] = faults[:LISTED]
    return Verdict(False, f"{len(faults)} fault(s): {'; '.join(faults[:LISTED])}", compared)
