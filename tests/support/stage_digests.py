"""The digests of the stages' code: what tells that a stage's code has changed while its VERSION has not.

Belongs here: which modules a stage leans on, and their digests. `python -m tests.support.stage_digests` writes them to
`touchline/stages/digests.json`; `tests/unit/test_stage_digests.py` compares.

A stage's code is its own module and every module of `touchline` that it imports, directly or not, with the entry points
of the groups that these name, and the pinned versions of the libraries that they import. A module is hashed without
what cannot change an output: comments, docstrings, layout, descriptions of settings and the texts of errors.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import grimp

ROOT: Final = Path(__file__).resolve().parents[2]
RECORDED: Final = ROOT / "touchline" / "stages" / "digests.json"
STAGES: Final = tuple(
    sorted(
        path.stem for path in RECORDED.parent.glob("*.py") if re.search("^VERSION\\b", path.read_text("utf-8"), re.M)
    )
)
DISTRIBUTIONS: Final = {"cv2": "opencv-python", "yaml": "pyyaml", "bson": "pymongo", "doctr": "python-doctr"}
"""Names under which libraries are pinned, where they are imported under others."""
DIGITS: Final = 16
"""Hexadecimal digits of a digest."""
_SILENT: Final = {"ctx", "kind", "type_comment", "type_ignores"}
"""Fields of a syntax tree that follow from others or have no effect."""


@dataclass(frozen=True)
class StageCode:
    """The code of one stage: its `version`, and by name what it leans on: digests of modules, pins of libraries."""

    version: str
    parts: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Of all parts, hex."""
        return _digest(json.dumps(sorted(self.parts.items())))


def code_of(stage: str) -> StageCode:
    """The code of a stage as it is now."""
    module = importlib.import_module(f"touchline.stages.{stage}")
    return StageCode(str(module.VERSION), _parts(f"touchline.stages.{stage}"))


def fault(stage: str, recorded: Mapping[str, Any]) -> str:
    """What is to be done because a stage's code is not what is recorded; empty where it is."""
    now, was = code_of(stage), recorded["stages"].get(stage, {})
    if now.digest == was.get("digest") and now.version == was.get("version"):
        return ""
    known = recorded["parts"]
    found = [f"{name} changed" for name, value in now.parts.items() if name in known and known[name] != value]
    found += [f"{name} is new" for name in now.parts if name not in known]
    # A module that is known of other stages, or that is not imported any more, leaves no trace but the digest.
    what = ", ".join(found) or (
        "it imports other modules" if now.digest != was.get("digest") else "its VERSION changed"
    )
    text = f"the code of {stage} is not what {RECORDED.relative_to(ROOT)} records: {what}. "
    if now.version == was.get("version"):
        text += (
            f"If the output of {stage} can differ for any input, raise VERSION in touchline/stages/{stage}.py (now "
            f"{now.version}): else old checkpoints count as equal to what this code makes. Then, in either case: "
        )
    return f"{text}run `make stage-digests` and commit the file."


def record() -> dict[str, Any]:
    """What is kept in RECORDED: `stages` with version and digest, and the `parts` of all of them."""
    codes = {stage: code_of(stage) for stage in STAGES}
    parts = dict(sorted({name: value for code in codes.values() for name, value in code.parts.items()}.items()))
    stages = {stage: {"version": code.version, "digest": code.digest} for stage, code in codes.items()}
    return {"stages": stages, "parts": parts}


def meaning(source: str) -> str:
    """The digest of what a module does: the same for any wording of its comments, docstrings and errors."""
    return _digest(json.dumps(_plain(ast.parse(source))))


def _plain(value: Any) -> Any:
    """A syntax tree as plain lists, alike in all versions of Python."""
    if isinstance(value, list):
        return [_plain(item) for item in value if not _is_text(item)]
    if isinstance(value, ast.Constant):
        return ["Constant", type(value.value).__name__, repr(value.value)]
    if isinstance(value, ast.Raise) and isinstance(value.exc, ast.Call):
        return ["Raise", _plain(value.exc.func)]
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "Field":
        kept = [keyword for keyword in value.keywords if keyword.arg != "description"]
        return ["Field", _plain(value.args), _plain(kept)]
    if isinstance(value, ast.AST):
        # What is empty is left out: newer versions of Python have more fields.
        fields = ((name, field) for name, field in ast.iter_fields(value) if name not in _SILENT)
        return [type(value).__name__, *([name, _plain(field)] for name, field in fields if field not in (None, []))]
    return value if isinstance(value, (str, int)) else repr(value)


def _is_text(node: Any) -> bool:
    """Whether a statement is a text alone: a docstring, of a module, class, function or constant."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _parts(root: str) -> dict[str, str]:
    """By name the digests of the modules under `root`, and the pins of the libraries that they import."""
    graph, modules, found = _graph(), set[str](), [root]
    while found:
        name = found.pop()
        if name in modules:
            continue
        modules.add(name)
        found += graph.find_modules_directly_imported_by(name) if name in graph.modules else []
        found += _behind_doors(name)
    parts = {}
    for name in modules:
        if name.partition(".")[0] == "touchline":
            parts[name] = meaning(_path(name).read_text("utf-8"))
        elif pin := _pins().get(_canonical(DISTRIBUTIONS.get(name, name))):
            parts[name] = pin
    return dict(sorted(parts.items()))


def _behind_doors(module: str) -> Iterator[str]:
    """The modules of this project that a module loads by the name of a group of entry points."""
    if module.partition(".")[0] == "touchline" and (doors := _doors()):
        for group in doors.keys() & _texts(module):
            yield from (door.partition(":")[0] for door in doors[group].values())


def _texts(module: str) -> set[str]:
    nodes = ast.walk(ast.parse(_path(module).read_text("utf-8")))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(
        "touchline", cache_dir=None, exclude_type_checking_imports=True, include_external_packages=True
    )


@cache
def _doors() -> dict[str, dict[str, str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    doors: dict[str, dict[str, str]] = project.get("entry-points", {})
    return doors


@cache
def _pins() -> dict[str, str]:
    pins = (ROOT / "constraints.txt").read_text("utf-8").split()
    return {_canonical(pin.partition("==")[0]): pin for pin in pins}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _path(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def main() -> None:
    """Writes RECORDED, and says of each stage whose code has changed whether its checkpoints will be used again."""
    recorded = json.loads(RECORDED.read_text("utf-8")) if RECORDED.exists() else {"stages": {}, "parts": {}}
    new = record()
    for stage, now in new["stages"].items():
        was = recorded["stages"].get(stage, {})
        if was.get("digest") != now["digest"]:
            kept = was.get("version") == now["version"]
            fate = "kept: stored checkpoints count as equal" if kept else f"was {was.get('version')}"
            print(f"{stage}: its code has changed; VERSION {now['version']} ({fate})")
    RECORDED.write_text(json.dumps(new, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
