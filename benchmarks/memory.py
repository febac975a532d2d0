"""Peak memory of a run by the length of its video, which must not affect it.

Belongs here: the measurement. The videos are a short rendered broadcast whose packets are repeated.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import psutil

from touchline.errors import TouchlineError
from touchline.synthetic import CLIP, render

MINUTES: Final = (1, 10, 90)
SETTINGS: Final = ("run_ocr.search_interval=20", "run_ocr.strips=false")
"""Settings that reduce OCR, so that 90 minutes of video take less time. OCR holds one frame in memory at a time."""


def curve(minutes: tuple[int, ...] = MINUTES) -> dict[int, dict[str, float]]:
    """By length [minutes]: the peak resident memory of the run's process [MiB] and its wall time [s]."""
    measured = {}
    with tempfile.TemporaryDirectory(prefix="touchline-memory-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        short = folder / "short.mp4"
        render(short, replace(CLIP, width=320, height=180))
        for length in minutes:
            video = folder / f"{length}_minutes.mp4"
            repeat(short, video, 60.0 * length)
            measured[length] = _peak(video, folder / "home")
    return measured


def repeat(short: Path, target: Path, seconds: float) -> None:
    """Repeats the packets of `short`, without decoding, until the video lasts `seconds`."""
    with av.open(str(target), "w") as out:
        begun = 0
        base = Fraction(1)
        stream = None
        while begun * base < seconds:
            with av.open(str(short)) as source:
                video = source.streams.video[0]
                if stream is None:
                    stream = out.add_stream_from_template(video)
                    stream.time_base = base = Fraction(video.time_base or 1)
                length = int(Fraction(video.duration or 0))
                for packet in source.demux(video):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + begun, packet.dts + begun
                    packet.stream = stream
                    out.mux(packet)
                begun += length


def _peak(video: Path, home: Path) -> dict[str, float]:
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    command = [sys.executable, "-m", "touchline_cli.app", "run", str(video), "--fresh", "--json", *settings]
    began, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, env={**os.environ, "TOUCHLINE_HOME": str(home)}, stdout=subprocess.DEVNULL, stderr=said
        )
        while process.poll() is None:
            try:
                peak = max(peak, psutil.Process(process.pid).memory_info().rss)
            except psutil.NoSuchProcess:
                break
            time.sleep(0.05)
        if process.wait() != 0:
            said.seek(0)
            raise TouchlineError(f"{video.name}: {said.read().decode('utf-8', 'replace')[-500:]}")
    return {"peak_mib": round(peak / 2**20, 1), "wall_s": round(time.perf_counter() - began, 1)}
