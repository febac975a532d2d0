"""The documentation keeps up: every command, option, variable, setting and report field stands in it, and no other."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer
from pydantic.fields import FieldInfo

from resources.run_settings import RunSettings
from resources.settings import ENVIRONMENT
from touchline.nodes import NODE_NAMES, REPORT
from touchline.profiles import STAGE_NAMES, load_profile, profile_names
from touchline.report.model import Report
from touchline_cli.app import app

ROOT = Path(__file__).resolve().parents[2]
CLI = (ROOT / "docs/cli.md").read_text("utf-8")
CONFIGURATION = (ROOT / "docs/configuration.md").read_text("utf-8")
REPORTS = (ROOT / "docs/report.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
PACKAGES = ("touchline", "resources", "io_managers", "detection_assets", "webapp", "touchline_cli")
REMEDY = "the table and the code differ; the table should read"


def section(page: str, heading: str) -> str:
    """What stands between a heading and the next of its rank or above."""
    rank = heading.partition(" ")[0]
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(rank)}}} |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"the docs have no section {heading!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The tables' rows as their cells, without heads and rules."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    rules = {i for i, row in enumerate(cells) if all(re.fullmatch(":?-+:?", cell) for cell in row)}
    return [row for i, row in enumerate(cells) if i not in rules and i + 1 not in rules]


def code(cell: str) -> list[str]:
    """What a cell writes as code."""
    return re.findall(r"`([^`]+)`", cell)


def commands(group: Any, name: str = "touchline") -> Iterator[tuple[str, Any]]:
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} {word}")
        else:
            yield f"{name} {word}", command


COMMANDS = dict(commands(typer.main.get_command(app)))


def test_every_command_has_its_section_and_no_other_is_promised() -> None:
    assert sorted(re.findall(r"^## (touchline .+)$", CLI, re.MULTILINE)) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_in_its_table_and_no_other(name: str) -> None:
    expected, defaults = set(), {}
    for parameter in COMMANDS[name].params:
        argument = parameter.param_type_name == "argument"
        spelling = (parameter.metavar or parameter.name.upper()).removesuffix("...") if argument else None
        expected.add(spelling or ", ".join(sorted(parameter.opts, key=len, reverse=True)))
        if not argument and parameter.default not in (None, False, "", ()):
            defaults[", ".join(sorted(parameter.opts, key=len, reverse=True))] = str(parameter.default)
    found = {", ".join(code(row[0])): row[1] for row in rows(section(CLI, f"## {name}"))}
    assert set(found) == expected, f"docs/cli.md, {name}: the table lacks {expected - set(found)}"
    for option, default in defaults.items():
        assert f"`{default}`" in found[option], f"{name} {option}: its default is {default}"


def test_every_environment_variable_is_in_the_table_with_its_default_and_meaning() -> None:
    table = rows(section(CONFIGURATION, "## Environment"))
    expected = [[f"`{v.name}`", v.default + (" (secret)" if v.secret else ""), v.description] for v in ENVIRONMENT]
    assert table == expected, f"docs/configuration.md: {REMEDY}\n" + as_table(expected)


def test_no_variable_is_read_that_the_docs_do_not_name() -> None:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    files += [ROOT / "dagster.yaml", ROOT / "workspace.yaml"]
    used = {name for path in files for name in re.findall(r"\bTOUCHLINE_[A-Z0-9_]+\b", path.read_text("utf-8"))}
    missing = sorted(name for name in used if f"`{name}`" not in CONFIGURATION)
    assert not missing, f"docs/configuration.md says nothing of {', '.join(missing)}"


def test_the_docs_name_no_variable_that_is_not_read() -> None:
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")] + [ROOT / "dagster.yaml"]
    code_ = "\n".join(path.read_text("utf-8") for path in sources)
    for page in PAGES:
        for name in set(re.findall(r"\bTOUCHLINE_[A-Z0-9_]+\b", page.read_text("utf-8"))):
            assert name in code_, f"{page.name} names {name}, which nothing reads"


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_every_profile_field_is_in_its_table_with_default_bounds_and_meaning(stage: str) -> None:
    config = load_profile().stage(stage)
    expected = [
        [f"`{name}`", default_of(getattr(config, name)), bounds_of(field), str(field.description).replace("|", "\\|")]
        for name, field in type(config).model_fields.items()
    ]
    table = rows(section(CONFIGURATION, f"### {stage}"))
    assert table == expected, f"docs/configuration.md, {stage}: {REMEDY}\n" + as_table(expected)


def test_every_profile_is_named() -> None:
    for name in profile_names():
        assert f"`{name}`" in CONFIGURATION


def test_every_run_setting_of_the_launchpad_is_in_its_table() -> None:
    table = rows(section(CONFIGURATION, "## Run settings"))
    assert [code(row[0])[0] for row in table] == list(RunSettings.model_fields)


def test_every_node_is_told_in_the_readme() -> None:
    for name in (*NODE_NAMES, REPORT):
        assert f"`{name}`" in README


def test_every_field_of_the_report_is_in_its_table() -> None:
    for heading, kind in report_kinds(Report, "report.json"):
        expected = [field.name for field in dataclasses.fields(kind)]
        found = [name for row in rows(section(REPORTS, f"## {heading}")) for name in code(row[0])]
        assert found == expected, f"docs/report.md, {heading}: {REMEDY} {expected}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name} links to {target}, which does not exist"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_and_settings_that_the_docs_use_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    text = page.read_text("utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name}: there is no `make {target}`"
    for stage, field in re.findall(r"--set ([a-z_]+)\.([a-z_]+)=", text):
        assert field in type(load_profile().stage(stage)).model_fields, f"{page.name}: there is no {stage}.{field}"


def default_of(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "empty" if value in ("", None) else f"`{value}`"


def bounds_of(field: FieldInfo) -> str:
    words = {"gt": "above {}", "ge": "from {}", "lt": "below {}", "le": "to {}"}
    bounds = {word: getattr(m, word) for m in field.metadata for word in words if hasattr(m, word)}
    joined = ", ".join(words[word].format(bounds[word]) for word in words if word in bounds)
    return joined.replace(", to", " to") if joined.startswith("from") else joined


def as_table(expected: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in expected)


def report_kinds(kind: type, heading: str) -> Iterator[tuple[str, type]]:
    """A dataclass and those inside it, under the headings they have in docs/report.md."""
    yield heading, kind
    for name, hint in get_type_hints(kind).items():
        for inner in (hint, *get_args(hint)):
            if isinstance(inner, type) and dataclasses.is_dataclass(inner):
                yield from report_kinds(inner, name)
