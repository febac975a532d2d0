"""The material: clips with their truth, from a folder of real footage or rendered.

Belongs here: finding and rendering clips. A folder of footage holds the files that the truths name, in itself or in
folders below. Its own `truth/*.json` and `brands.csv` count; without them it is the open benchmark's media.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.broadcast81 import BRANDS, truths
from touchline.brands import BrandEntry, read_csv, shipped
from touchline.errors import BadInputError
from touchline.synthetic import DEMO, render


@dataclass(frozen=True)
class Clip:
    """A video or picture and its truth."""

    path: Path
    truth: dict[str, Any]


@dataclass(frozen=True)
class Material:
    """Clips, and the brands to match against; `brands_csv` is nothing where that is the shipped list.

    `left_out` are files of the open benchmark that the folder lacks.
    """

    clips: Sequence[Clip]
    brands: Sequence[BrandEntry]
    brands_csv: Path | None
    left_out: Sequence[str] = ()


def footage(folder: Path) -> Material:
    """The clips of a folder. Raises BadInputError where it lacks something."""
    own = truths(folder / "truth")
    if own and not (folder / "brands.csv").is_file():
        raise BadInputError(f"--footage {folder}: expected brands.csv beside its truth/*.json")
    files = {path.name: path for path in folder.rglob("*.*") if path.parent.name != "truth"}
    named = {Path(truth["file"]).name: truth for truth in (own or truths()).values()}
    lacking = sorted(named.keys() - files.keys())
    if own and lacking:
        raise BadInputError(f"--footage {folder}: truth/*.json names {', '.join(lacking)}; expected them in the folder")
    if len(lacking) == len(named):
        raise BadInputError(
            f"--footage {folder}: expected truth/*.json, brands.csv and the files that they name, or the media of "
            "the open benchmark, which `python -m benchmarks fetch` gets"
        )
    brands = brand_list(folder)
    clips = [Clip(files[name], truth) for name, truth in named.items() if name in files]
    return Material(clips, read_csv(brands), brands, lacking)


def brand_list(folder: Path) -> Path:
    """The brands.csv that belongs to a folder of footage: its own beside its own truth, or the open benchmark's."""
    return folder / "brands.csv" if (folder / "truth").is_dir() else BRANDS


def synthetic(folder: Path, count: int) -> Material:
    """`count` rendered broadcasts that differ by their seed, written into `folder`."""
    clips = []
    for seed in range(1, count + 1):
        path = folder / f"synthetic_{seed}.mp4"
        clips.append(Clip(path, render(path, replace(DEMO, seed=seed)).as_json()))
    return Material(clips, shipped(), None)
