"""Commands, options and names that messages and pages tell people exist, and fit whoever reads them."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from detection_assets.definitions import build_defs
from touchline.profiles import shipped_names
from touchline.report.tables import COLUMNS, SUMMARY_COLUMNS
from touchline_cli.app import app
from touchline_cli.hints import program, with_program
from touchline_cli.library import shortened

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("touchline", "resources", "io_managers", "detection_assets", "touchline_cli")
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "training/README.md"])
COMMAND = typer.main.get_command(app)
OTHERS = {"default_limit", "target_height"}
"""Names that pages speak of beside: a setting of Dagster's, an argument of the OCR protocol."""
HOLE = "HOLE"
"""What stands in a text for a value that is put in."""


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every text of a module that is no docstring, joined and with holes where values go."""
    tree = ast.parse(path.read_text("utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in alone or id(node) in inner:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else HOLE for part in node.values)
            yield node.lineno, "".join(map(str, parts))


MESSAGES = [
    (f"{path.relative_to(ROOT)}:{line}", text)
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    for line, text in texts(path)
]


def fault(words: list[str]) -> str:
    """Why these words after `touchline` are no command, or nothing."""
    command: Any = COMMAND
    for number, word in enumerate(words):
        if word.startswith("-"):
            name = word.partition("=")[0]
            if name in ("--help", "-h"):
                continue
            if not any(name in (*parameter.opts, *parameter.secondary_opts) for parameter in command.params):
                return f"{command.name} has no option {name}"
        elif hasattr(command, "commands"):
            if word not in command.commands:
                return f"there is no command {word}"
            command = command.commands[word]
        elif number and word in ("...", "…"):
            continue
    return ""


def is_example(words: list[str]) -> bool:
    """Whether a text names commands in general."""
    return not words or words[0] in ("COMMAND", "...", HOLE)


def test_every_command_that_a_message_names_exists_with_its_options() -> None:
    seen = 0
    for where, text in MESSAGES:
        for hint in re.findall(r"`touchline ([^`]*)`", text):
            words = shlex.split(hint)
            if not is_example(words):
                seen += 1
                assert not fault(words), f"{where}: `touchline {hint}`: {fault(words)}"
    assert seen > 20


def test_a_command_in_a_message_is_marked_so_that_it_can_be_fitted() -> None:
    names = "|".join(COMMAND.commands)  # type: ignore[attr-defined]
    for where, text in MESSAGES:
        bare = re.search(rf"(?<!`)\btouchline ({names})\b", text)
        # What is a command as a whole is marked where it is shown.
        whole = text.startswith(("touchline replay HOLE --from", "touchline report HOLE --job"))
        assert bare is None or whole, f"{where}: {text}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists_with_its_options(page: Path) -> None:
    text = page.read_text("utf-8")
    spans = re.findall(r"`(?:\.venv/bin/)?touchline ([^`\n]*)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    hints = spans + [found[1] for line in lines if (found := re.match(r"(?:\.venv/bin/)?touchline (\S.*)", line))]
    for hint in hints:
        words = shlex.split(hint, comments=True)
        if not is_example(words):
            assert not fault(words), f"{page.name}: touchline {hint}: {fault(words)}"


def test_options_that_messages_name_exist_somewhere() -> None:
    known = {"--help"}
    groups = [COMMAND]
    while groups:
        group: Any = groups.pop()
        known |= {name for parameter in group.params for name in parameter.opts}
        groups += getattr(group, "commands", {}).values()
    for where, text in MESSAGES:
        if " " not in text and not (where.startswith("touchline_cli/") and "/serve.py" not in where):
            # Options of other programs are single words there.
            continue
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+\b", text):
            assert option in known, f"{where}: there is no option {option}: {text}"


def names_in_code() -> set[str]:
    """What Dagster knows by name, fields of classes, columns of tables, and texts that are one word."""
    repository = build_defs().get_repository_def()
    names = {key.name for key in repository.asset_graph.asset_check_keys}
    names |= {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()}
    names |= {sensor.name for sensor in repository.sensor_defs}
    names |= {schedule.name for schedule in repository.schedule_defs}
    names |= {job.name for job in repository.get_all_jobs()} | set(shipped_names())
    names |= {text for _, text in MESSAGES} | {*COLUMNS, *SUMMARY_COLUMNS}
    for package in (*PACKAGES, "benchmarks", "training"):
        for path in (ROOT / package).rglob("*.py"):
            nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
            bodies = [statement for node in nodes if isinstance(node, ast.ClassDef) for statement in node.body]
            fields = [one.target for one in bodies if isinstance(one, ast.AnnAssign)]
            names |= {field.id for field in fields if isinstance(field, ast.Name)}
            names |= {one.name for one in bodies if isinstance(one, ast.FunctionDef)}
    return names


def test_checks_assets_sensors_fields_and_settings_that_pages_name_exist() -> None:
    known = (
        names_in_code() | OTHERS | set(re.findall(r"^ *([a-z_]+):", (ROOT / "dagster.yaml").read_text("utf-8"), re.M))
    )
    for page in PAGES:
        for name in re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)`", page.read_text("utf-8")):
            assert name in known, f"{page.name}: {name} is no check, asset, sensor, field or setting"


@pytest.mark.parametrize(
    ("called", "told"),
    [
        ("/somewhere/touchline_cli/__main__.py", f"{sys.executable} -m touchline_cli"),
        (".venv/bin/touchline", ".venv/bin/touchline"),
        ("/opt/my tools/touchline", "'/opt/my tools/touchline'"),
        ("/usr/bin/pytest", "touchline"),
    ],
)
def test_a_hint_is_what_the_reader_can_type(called: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.setenv("PATH", "/nowhere")
    assert program() == told
    assert with_program("see `touchline jobs`, not touchline itself") == f"see `{told} jobs`, not touchline itself"


def test_a_touchline_on_the_path_is_called_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "touchline"
    script.write_text("#!/bin/sh\n", "utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(script)])
    assert program() == "touchline"
    monkeypatch.setattr(sys, "argv", ["other/touchline"])
    assert program() == "other/touchline"


@given(st.lists(st.sampled_from(["`touchline jobs`", "`touchline resume 3f9a1c07`", "word", "é" * 30, "a; b"])))
def test_a_message_that_is_shortened_keeps_every_command_whole(parts: list[str]) -> None:
    message = " ".join(parts)
    short = shortened(message, 60)
    for command in ("`touchline jobs`", "`touchline resume 3f9a1c07`"):
        assert short.count(command) == message.count(command)
    assert short.count("`") == message.count("`")
    assert short == message or (len(message) > 60 and "..." in short)
