"""Makes a video file of a broadcast: H.264 in MP4, as a compressed feed arrives.

Belongs here: encoding. What is encoded is the business of `broadcast`.
"""

from __future__ import annotations

from pathlib import Path

import av

from touchline.synthetic.broadcast import Broadcast
from touchline.synthetic.spec import DEMO, BroadcastSpec
from touchline.synthetic.truth import Truth, TruthCollector


def render(path: Path, spec: BroadcastSpec = DEMO) -> Truth:
    """Render a broadcast into an MP4 file at `path` and return its exact ground truth. Existing files are replaced."""
    broadcast, collector = Broadcast(spec), TruthCollector(spec)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=spec.fps)
        stream.width, stream.height, stream.pix_fmt = spec.width, spec.height, "yuv420p"
        stream.options = {"crf": str(spec.crf), "preset": "superfast", "g": str(2 * spec.fps)}
        for index in range(spec.frames):
            rendered = broadcast.frame(index)
            collector.add(rendered)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rendered.image, format="bgr24")))
        container.mux(stream.encode(None))
    return collector.truth(path.name)
