"""Clips with ground truth, from a folder of real footage or rendered.

Belongs here: finding and rendering clips. A folder of footage holds `truth/*.json`, `brands.csv`, and, at any depth,
the files that the ground truth names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from touchline.brands import BrandEntry, read_csv, shipped
from touchline.errors import BadInputError
from touchline.synthetic import DEMO, render


@dataclass(frozen=True)
class Clip:
    """A video or picture and its ground truth."""

    path: Path
    truth: dict[str, Any]


@dataclass(frozen=True)
class Material:
    """Clips, and the brands to match against; `brands_csv` is None for the shipped list."""

    clips: Sequence[Clip]
    brands: Sequence[BrandEntry]
    brands_csv: Path | None


def footage(folder: Path) -> Material:
    """The clips of a folder. Raises BadInputError if a file is missing."""
    truths = sorted((folder / "truth").glob("*.json"))
    if not truths or not (folder / "brands.csv").is_file():
        raise BadInputError(f"--footage {folder}: expected truth/*.json and brands.csv in it")
    files = {path.name: path for path in folder.rglob("*.*") if path.parent.name != "truth"}
    clips = []
    for path in truths:
        truth = json.loads(path.read_text("utf-8"))
        name = Path(truth["file"]).name
        if name not in files:
            raise BadInputError(f"{path}: names {name}, which is not in {folder}")
        clips.append(Clip(files[name], truth))
    return Material(clips, read_csv(folder / "brands.csv"), folder / "brands.csv")


def synthetic(folder: Path, count: int) -> Material:
    """`count` rendered broadcasts that differ by their seed, written into `folder`."""
    clips = []
    for seed in range(1, count + 1):
        path = folder / f"synthetic_{seed}.mp4"
        clips.append(Clip(path, render(path, replace(DEMO, seed=seed)).as_json()))
    return Material(clips, shipped(), None)
