"""The docstring of a constant is complete in itself: an editor shows it alone when the mouse is over the constant."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("touchline", "resources", "io_managers", "detection_assets", "webapp", "touchline_cli", "tests")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
BEGINS = re.compile(r"[A-Z0-9`]")
"""A capital, a number or a word of code."""
ENDS = re.compile(r"(?<!\.\.)[.!?)\]]$")
"""A full stop, the bracket of a unit or of an example; three dots are none of these."""
CODE_WORDS = ("docTR", "gRPC", "rapidfuzz", "ultralytics")
"""Names that are written with a small letter, also at the beginning of a sentence."""


def documented(body: list[ast.stmt]) -> Iterator[tuple[str, int, str]]:
    """(name, line, docstring) of the variables of a module and of its classes."""
    for statement, following in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(statement, ast.ClassDef):
            yield from documented(statement.body)
        if not isinstance(statement, ast.Assign | ast.AnnAssign):
            continue
        if not isinstance(following, ast.Expr) or not isinstance(following.value, ast.Constant):
            continue
        if isinstance(following.value.value, str):
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            yield ast.unparse(target), statement.lineno, following.value.value.strip()


def test_the_docstring_of_a_constant_is_whole_sentences() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}: {text}"
        for path in MODULES
        for name, line, text in documented(ast.parse(path.read_text("utf-8")).body)
        if not (BEGINS.match(text) or text.startswith(CODE_WORDS)) or not ENDS.search(text)
    ]
    assert not wrong, "a docstring begins or ends in the middle of a sentence:\n" + "\n".join(wrong)


def test_a_docstring_that_continues_in_the_next_one_is_found() -> None:
    body = ast.parse(
        'A = 1\n"""Windows lose pans..."""\nB = 2\n"""...but are quick."""\nC = 3\n"""Largest one [px]."""'
    ).body
    found = {name: bool(BEGINS.match(text) and ENDS.search(text)) for name, _, text in documented(body)}
    assert found == {"A": False, "B": False, "C": True}
