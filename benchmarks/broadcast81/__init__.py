"""The benchmark's data: 81 public broadcast clips and stills, as addresses, checksums and ground truth; no media.

Belongs here: `sources.tsv` (where each item lies), `truth/*.json`, `brands.csv`, and reading them. What fetches the
media is in `fetch.py`, what compares reports with the truth in `scoring.py` and `score_reports.py`.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DATA: Final = Path(__file__).resolve().parent
BRANDS: Final = DATA / "brands.csv"
"""The brand list to import before a run."""
GIT, RENDERED, NONE = "git", "rendered", "none"
"""How an item is had: from its repository; drawn by `rendered.py`; not at all, since it lies nowhere in public."""
PARTS: Final = ("tune", "holdout")


@dataclass(frozen=True, slots=True)
class Item:
    """A clip or still of the list.

    `file` is where it lies in the folder of media; `repo` (owner/name; empty where there is none), `path` and `commit`
    (40 hex digits) where it comes from; `origin` how it is had: `git`, `rendered` or `none`. `size` [bytes] and
    `sha256` (hex) are of the file, `width` and `height` [px] of the picture. `part` is `tune` or `holdout`; `part_of`
    says which.
    """

    file: str
    repo: str
    path: str
    commit: str
    origin: str
    sha256: str
    size: int
    width: int
    height: int
    part: str

    @property
    def stem(self) -> str:
        """The name under which reports of it are filed."""
        return Path(self.file).stem


def items(path: Path = DATA / "sources.tsv") -> list[Item]:
    """The list, in its order."""
    with path.open(encoding="utf-8", newline="") as lines:
        return [
            Item(
                **{name: row[name] for name in ("file", "repo", "path", "commit", "origin", "sha256", "part")},
                size=int(row["bytes"]),
                width=int(row["width"]),
                height=int(row["height"]),
            )
            for row in csv.DictReader(lines, delimiter="\t")
        ]


def truths(folder: Path = DATA / "truth") -> Mapping[str, dict[str, Any]]:
    """Ground truth by stem of the file that it is about, in alphabetical order of the truth files."""
    found = (json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json")))
    return {Path(truth["file"]).stem: truth for truth in found}


def part_of(repo: str) -> str:
    """Which part of the benchmark a repository belongs to, by its name alone: no result has a say in it."""
    return PARTS[hashlib.sha256(repo.encode()).digest()[0] % 2]


def chosen(everything: Sequence[Item], source: str) -> list[Item]:
    """The items whose repository or file holds `source`, whatever its case; all of them for an empty text."""
    wanted = source.casefold()
    return [item for item in everything if wanted in item.repo.casefold() or wanted in item.file.casefold()]
