"""Rules for the output of stages, as plain functions. The asset checks use them.

Belongs here: rules that need only the values that they compare. `detection_assets/checks/` reads these values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from touchline.values import BrandDetection

FRAMES_OFF: Final = 0.05
"""Largest allowed difference from the expected number of frames, because containers round durations and frame rates
vary [share of the expected number, 0-1]."""
FRAMES_OFF_LEAST: Final = 2
"""Difference from the expected number of frames that is allowed in any video, however short [frames]."""
ROUNDING_S: Final = 0.002
"""Largest rounding error of a time in a report: reports give seconds to the millisecond [s]."""
LISTED: Final = 20
"""Largest number of faults or brands that a message lists."""


@dataclass(frozen=True, slots=True)
class RuleResult:
    """Whether a rule holds, a message, and the values that were compared.

    If a `severe` rule is broken, the run fails. Otherwise it is a warning.
    """

    passed: bool
    message: str
    compared: Mapping[str, Any] = field(default_factory=dict)
    severe: bool = True


def frame_count(frames: int, *, duration_s: float, sample_fps: float, fps: float, is_image: bool) -> RuleResult:
    """Checks that there are `duration_s` times the lower of `sample_fps` and the video's own `fps` frames.

    No frame at all is severe. An image has one frame. A duration of 0 is unknown [s].
    """
    rate = min(sample_fps, fps) if fps > 0 else sample_fps
    expected = 1 if is_image else round(duration_s * rate)
    compared = {"frames": frames, "expected": expected, "duration_s": duration_s, "sample_fps": sample_fps, "fps": fps}
    if frames == 0:
        return RuleResult(False, "no frame was extracted from this source", compared)
    if not is_image and duration_s <= 0:
        return RuleResult(True, f"{frames} frames; the duration of the video is unknown", compared)
    allowed = max(FRAMES_OFF_LEAST, expected * FRAMES_OFF)
    compared["allowed_difference"] = allowed
    message = f"{frames} frames, expected {expected} of {duration_s:.2f} s at {rate:g} a second"
    return RuleResult(abs(frames - expected) <= allowed, message, compared, severe=False)


def frames_kept(sampled: int, kept: int) -> RuleResult:
    """Checks that at least one frame is kept. None is a warning: the report of a black video is correctly empty."""
    message = f"{kept} of {sampled} frames are kept" if kept else f"none of {sampled} frames is kept"
    return RuleResult(kept > 0, message, {"sampled": sampled, "kept": kept}, severe=False)


def brands_known(detections: Mapping[str, str], known: Collection[str]) -> RuleResult:
    """Checks that every detected brand (id to name) is among the known brands (ids)."""
    unknown = {identity: name for identity, name in sorted(detections.items()) if identity not in known}
    compared: dict[str, Any] = {"brands_detected": len(detections), "brands_known": len(known)}
    if not unknown:
        return RuleResult(True, f"all {len(detections)} brands are known", compared)
    named = [f"{name} ({identity})" for identity, name in list(unknown.items())[:LISTED]]
    return RuleResult(
        False, f"{len(unknown)} brand(s) are not known: {', '.join(named)}", {**compared, "unknown": named}
    )


def brands_of(documents: Iterable[Any]) -> dict[str, str]:
    """Names by id of all brands among the documents of a matching stage."""
    return {d.brand_id: d.brand_name for d in documents if isinstance(d, BrandDetection)}


def exposure_fits(report: Mapping[str, Any]) -> RuleResult:
    """Checks, for each brand of a report (as in `report.json`), that its exposure is not longer than the video, and its
    solus time not longer than its exposure.
    """
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


def intervals_in_order(report: Mapping[str, Any]) -> RuleResult:
    """Checks that each brand's intervals rise, do not overlap, lie within the video, and add up to its seconds."""
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


def _faults(faults: list[str], fine: str, compared: dict[str, Any]) -> RuleResult:
    if not faults:
        return RuleResult(True, fine, compared)
    compared["faults"] = faults[:LISTED]
    return RuleResult(False, f"{len(faults)} fault(s): {'; '.join(faults[:LISTED])}", compared)
