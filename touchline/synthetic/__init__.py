"""The synthetic broadcast: a deterministic renderer of a match with advertising, and its exact ground truth.

Belongs here: what `touchline demo` and the tests watch. Nothing here reads a video, and no stage imports this package.

>>> truth = render(Path("match.mp4"), CLIP)
>>> write_truth(Path("match.json"), truth)
>>> Broadcast(CLIP).frame(0).quads   # exact board panels of one frame
"""

from touchline.synthetic.broadcast import Broadcast, PanelView, Rendered, WordView
from touchline.synthetic.encode import render
from touchline.synthetic.spec import CLIP, DEMO, BroadcastSpec, LedSlot, Message, Shot
from touchline.synthetic.truth import BrandTruth, Truth, truth_of, write_truth

__all__ = [
    "CLIP",
    "DEMO",
    "BrandTruth",
    "Broadcast",
    "BroadcastSpec",
    "LedSlot",
    "Message",
    "PanelView",
    "Rendered",
    "Shot",
    "Truth",
    "WordView",
    "render",
    "truth_of",
    "write_truth",
]
