"""Signposts lead somewhere: each file, module, name, command and target that a text names is there.

Belongs here: what docstrings, comments and pages say of other places. Tables of commands and settings are held against
the code in `test_docs.py`.
"""

from __future__ import annotations

import ast
import importlib
import io
import re
import subprocess
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

import pytest
import typer

from touchline.config import FORMERLY
from touchline.profiles import STAGE_NAMES, load_profile
from touchline_cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "touchline",
    "resources",
    "io_managers",
    "detection_assets",
    "webapp",
    "touchline_cli",
    "migrations",
    "benchmarks",
    "training",
    "tests",
)
KINDS = r"(?:py|md|yaml|yml|toml|css|html|mako|onnx|png)"
FILE = re.compile(rf"(?<![\w./:{{}}<>*-])((?:\.{{1,2}}/)?[\w-]+(?:/[\w.-]+)*\.{KINDS})(?![\w/(])")
DOTTED = re.compile(rf"(?<![\w./-])((?:{'|'.join(PACKAGES)})(?:\.\w+)+)(?![\w/-])")
FOLDER = re.compile(rf"(?<![\w./:-])((?:{'|'.join(PACKAGES)}|docs)(?:/[\w-]+)*/)(?![\w.<*{{-])")
MADE = {
    "inference.yml",
    "p.png",
    "report.html",
    "reports/match/report.html",
    "security.toml",
}
"""Files that are not part of the project: what runs, servers and users make, and what stands in examples."""
GROUPS = frozenset(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"].get("entry-points", ()))
"""Names of groups of entry points look like those of modules."""


@cache
def tracked() -> frozenset[PurePosixPath]:
    """The files of the project, by their paths from its top."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return frozenset(PurePosixPath(name) for name in listed.stdout.split("\n") if name and (ROOT / name).exists())


@cache
def endings() -> frozenset[str]:
    """Each file's path with none or more of its leading folders left out."""
    return frozenset("/".join(path.parts[start:]) for path in tracked() for start in range(len(path.parts)))


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Docstrings and comments of a module, or the lines of a page, with where they begin."""
    content = path.read_text("utf-8")
    if path.suffix != ".py":
        yield from enumerate(content.splitlines(), 1)
        return
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def resolves(dotted: str) -> bool:
    """Whether a dotted name is a module, or a name in one."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:end])
        if place.is_dir() or place.with_suffix(".py").is_file():
            found: object = importlib.import_module(".".join(parts[:end]))
            for name in parts[end:]:
                if not hasattr(found, name) and name not in getattr(found, "__annotations__", {}):
                    return False
                found = getattr(found, name, None)
            return True
    return False


def exists(name: str, path: PurePosixPath) -> bool:
    """Whether a file of that name is in the project; for a module's bare name, in the top package of `path`.

    `NAME` stands for any name.
    """
    name = re.sub(r"^(\.\.?/)+", "", name)
    if path.suffix == ".py" and name.endswith(".py") and "/" not in name:
        return any(other.name == name and other.parts[0] == path.parts[0] for other in tracked())
    return name in endings() or name in MADE or PurePosixPath(name).stem == "NAME"


def faults(text: str, path: PurePosixPath) -> Iterator[str]:
    """What the text of a file names that is not there."""
    for name in FILE.findall(text):
        if not exists(name, path):
            yield name
    for name in DOTTED.findall(text):
        if name not in GROUPS and not name.endswith((".py", ".md", ".yaml", ".toml")) and not resolves(name):
            yield name
    for name in FOLDER.findall(text):
        if not (ROOT / name).is_dir():
            yield name
    for command in re.findall(r"(?<![\w/-])touchline ([a-z][a-z-]+)(?: ([a-z]+))?", in_code(text)):
        if not is_command(*command):
            yield f"touchline {' '.join(command)}".strip()
    for target in re.findall(r"\bmake ([a-z][a-z-]*)", in_code(text)):
        if not re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE):
            yield f"make {target}"
    for stage, field in re.findall(rf"\b({'|'.join(STAGE_NAMES)})\.([a-z_]+)\b(?!\()", in_code(text)):
        if field not in settings_of(stage) | {"py", "bson", "partial"}:
            yield f"{stage}.{field}"


@cache
def settings_of(stage: str) -> frozenset[str]:
    """The settings of a stage, under their names and former names."""
    fields = type(load_profile().stage(stage)).model_fields
    extras = (field.json_schema_extra for field in fields.values())
    former = (str(extra[FORMERLY]) for extra in extras if isinstance(extra, dict) and FORMERLY in extra)
    return frozenset((*fields, *former))


def in_code(text: str) -> str:
    """What a text writes as code, span by span."""
    return "\n".join(re.findall(r"`([^`\n]+)`", text))


@cache
def commands() -> dict[str, frozenset[str]]:
    """The commands, each with its own."""
    group = typer.main.get_command(app)
    return {
        name: frozenset(getattr(command, "commands", ()))
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }


def is_command(name: str, second: str) -> bool:
    known = commands()
    return name in known and (not known[name] or not second or second in known[name])


SIGNED = sorted(
    ROOT / path for path in tracked() if path.suffix == ".md" or (path.suffix == ".py" and path.parts[0] in PACKAGES)
)


@pytest.mark.parametrize("path", SIGNED, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_text_names_is_there(path: Path) -> None:
    name = PurePosixPath(path.relative_to(ROOT))
    found = [f"{name}:{line}: {missing}" for line, text in texts(path) for missing in faults(text, name)]
    assert not found, "named, but not there:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("Running them is in `side_by_side.py`.", ["side_by_side.py"]),
        ("What asks is in `doctor.py`, which is of another package.", ["doctor.py"]),
        ("see touchline/videos/opening.py, and docs/nothing.md", ["touchline/videos/opening.py", "docs/nothing.md"]),
        ("as touchline.video.closing does", ["touchline.video.closing"]),
        ("as `touchline.video.opening.nothing` does", ["touchline.video.opening.nothing"]),
        ("all of detection_assets/nothing/ but this", ["detection_assets/nothing/"]),
        ("`touchline dance` and `make tea` after `run_ocr.sugar`", ["touchline dance", "make tea", "run_ocr.sugar"]),
        ("`touchline brands bake`", ["touchline brands bake"]),
        ("`touchline brands import`, `make test`, `run_ocr.engine`, touchline.video.opening, stages/run_ocr.py", []),
        ("It is touchline that reads, in the middle of https://example.org/a/b.py.", []),
    ],
)
def test_a_signpost_that_points_nowhere_is_found(text: str, missing: list[str]) -> None:
    assert list(faults(text, PurePosixPath("touchline/checks.py"))) == missing
