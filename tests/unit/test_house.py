"""The house rules that no linter knows: length of files, opening sentences, layers, quick start, what is shipped."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "touchline",
    "resources",
    "io_managers",
    "detection_assets",
    "webapp",
    "touchline_cli",
    "migrations",
    "tests",
)
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LONGEST = 400
MOST_MODULES = 300
"""Modules that `touchline --help` may load, those of Python among them."""
HEAVY = (
    "cv2",
    "dagster",
    "doctr",
    "numpy",
    "onnxruntime",
    "openvino",
    "rapidocr",
    "sqlalchemy",
    "torch",
    "ultralytics",
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_short_and_opens_with_what_belongs_in_it(path: Path) -> None:
    text = path.read_text("utf-8")
    lines = text.count("\n")
    assert lines <= LONGEST, f"{name_of(path)} has {lines} lines, {LONGEST} are the most; split it by subject"
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring, f"{name_of(path)} has no docstring"
    first = docstring.partition("\n\n")[0]
    assert len(first) > 20, f"{name_of(path)} opens with {first!r}; say in a sentence what it is for"
    assert first[-1] in ".!?:", f"{name_of(path)}: the opening sentence does not end"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_is_left_for_later(path: Path) -> None:
    words = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|NotImplemented" r"Error|x" r"fail)\b")
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        assert not words.search(line), f"{name_of(path)}:{number}: {line.strip()}"


def test_imports_only_point_downwards() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_the_command_line_starts_without_heavy_libraries() -> None:
    probe = f"import sys, touchline_cli.app; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    # How long it takes depends on the machine; how much is loaded does not.
    probe = "import sys, touchline_cli.app; print(len(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < MOST_MODULES, f"touchline --help loads {done.stdout.strip()} modules"


def test_importing_the_domain_brings_in_no_models() -> None:
    probe = (
        "import sys, touchline.profiles, touchline.ocr, touchline.vision.yolo; "
        "heavy = 'dagster', 'doctr', 'onnxruntime', 'openvino', 'rapidocr', 'torch', 'ultralytics'; "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_domain_reads_the_environment_in_one_place() -> None:
    # All else is passed in: what a stage computes must not depend on a variable that nobody sees.
    read = re.compile(r"os\.(?:getenv\(|environ(?:\.get\(|\[))")
    for path in (ROOT / "touchline").rglob("*.py"):
        lines = [line.strip() for line in path.read_text("utf-8").splitlines() if read.search(line)]
        # ultralytics changes it; it is put back.
        assert not [line for line in lines if "OMP_NUM_THREADS" not in line], f"{path}: {lines}"


def test_every_dependency_is_pinned_and_no_pin_is_an_address() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = (ROOT / "constraints.txt").read_text("utf-8").split()
    for pin in pins:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", pin), f"constraints.txt: {pin}"
    pinned = {canonical(pin.partition("==")[0]) for pin in pins}
    wanted = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    names = {canonical(match[0]) for d in wanted if (match := re.match(r"[A-Za-z0-9._-]+", d))}
    assert names <= pinned, f"not pinned: {sorted(names - pinned)}"


def test_no_sentence_says_to_install_by_a_name_that_is_not_ours_or_without_the_pins() -> None:
    # What an index has under our name is somebody else's, and what is not pinned is not what was tested.
    pinned = re.compile(r"pip install (--quiet )?(-c|--constraint) constraints\.txt (-e|--editable) ")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in tracked:
        if Path(name).suffix not in {".py", ".md", ".html", ".toml", ".yaml", ""} or name == "tests/unit/test_house.py":
            continue
        for number, line in enumerate((ROOT / name).read_text("utf-8").splitlines(), 1):
            for found in re.finditer(r"(?:pipx?|uv(?: pip)?|conda|poetry) (?:install|add) \S+", line):
                assert pinned.match(line, found.start()), f"{name}:{number}: {line.strip()}"
            assert not re.search(r"touchline\[\w+\]", line), f"{name}:{number}: {line.strip()}"


def test_the_licence_is_the_one_that_is_declared() -> None:
    licence = (ROOT / "LICENSE").read_text("utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["license"] == "AGPL-3.0-or-later"
    assert "GNU AFFERO GENERAL PUBLIC LICENSE" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
