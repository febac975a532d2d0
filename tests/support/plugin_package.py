"""A package as others install it, with an OCR engine or a detector behind an entry point. Belongs here: writing one."""

from __future__ import annotations

from pathlib import Path

ENGINE = '''
from touchline.ocr.engine import StripText, TextPlace

class OneWord:
    """Finds a word in the middle of every picture."""

    identity = "one word 1"

    @classmethod
    def from_settings(cls, settings):
        return cls()

    def find(self, image, rows=None, target_height=None):
        height, width = image.shape[:2]
        top, bottom = rows or (0, height)
        y1, y2 = top + (bottom - top) / 4, top + (bottom - top) / 2
        return [TextPlace(((width / 4, y1), (width / 2, y1), (width / 2, y2), (width / 4, y2)))]

    def read(self, image, places):
        return [StripText("WORD", 0.9) for _ in places]
'''
DETECTOR = '''
from touchline.values import DetectedObject

class OnePlayer:
    """Finds a player who fills every picture."""

    def __init__(self, confidence):
        self.identity = f"one player at {confidence:g}"
        self.labels = frozenset({"player"})

    @classmethod
    def from_settings(cls, settings):
        return cls(settings.confidence)

    def detect(self, images):
        return [(DetectedObject("player", 0.9, (0.0, 0.0, *map(float, i.shape[1::-1]))),) for i in images]
'''


def install(folder: Path, name: str, group: str, entries: dict[str, str], code: str = "", version: str = "1.0") -> None:
    """Writes a distribution `name` into a folder of sys.path, as pip would: its module and its metadata.

    `entries`: of the group, the name of each and what it points at. The module is called as the distribution is.
    """
    if code:
        (folder / f"{name}.py").write_text(code)
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"{entry} = {value}" for entry, value in entries.items()]
    (metadata / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
