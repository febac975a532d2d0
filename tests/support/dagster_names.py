"""Finding names of Dagster's that it does not promise to keep, in Python and in YAML.

Belongs here: what counts as one. Which files may hold them is in `tests/unit/test_dagster_internals.py`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import dagster as dg
from dagster._annotations import is_public

LIBRARIES = ("dagster_shared", "dagster_postgres", "dagster_webserver", "dagster_graphql")
"""Libraries of Dagster's whose submodules users are not told of. Those of `dagster_aws` are documented."""
TEXT = re.compile(
    r"dagster(_\w+)?\._|^\.?dagster/(?!uri$|row_count$|partition_row_count$)[a-z]"
    r"|DAGSTER_(?!HOME\b)[A-Z]|failed from outside the execution"
)
"""Module paths below an underscore, names of tags, variables that Dagster reads (but for its home), and texts
of Dagster's own messages. The names of entries of metadata that Dagster documents are not among them."""
RECEIVERS = {
    r"instance|DagsterInstance": (dg.DagsterInstance,),
    r"context": (
        dg.AssetExecutionContext,
        dg.AssetCheckExecutionContext,
        dg.InitResourceContext,
        dg.InputContext,
        dg.OutputContext,
        dg.RunStatusSensorContext,
        dg.SensorEvaluationContext,
    ),
    r"event": (dg.DagsterEvent,),
    r"build_defs\(\)|defs|definitions": (dg.Definitions,),
}
"""How variables that hold an object of Dagster's are called in this project, and its class."""
DOCUMENTED = {"run", "event_type", "message"}
"""Attributes that Dagster documents for users without marking them."""


@lru_cache
def private_names(kinds: tuple[type, ...]) -> frozenset[str]:
    """The attributes of some classes that none of them marks as public."""
    marked = {
        name for kind in kinds for base in kind.__mro__ for name, value in vars(base).items() if _is_public(value)
    }
    return frozenset({name for kind in kinds for name in dir(kind)} - marked - DOCUMENTED - set(dir(object)))


def in_python(text: str) -> Iterator[tuple[int, str]]:
    """Line and name of each use in a module; what docstrings say does not count."""
    tree = ast.parse(text)
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {_docstring(node) for node in ast.walk(tree) if isinstance(node, owners)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if _is_private_module(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if _is_private_module(node.module) or (node.module == "dagster" and alias.name.startswith("_")):
                    yield node.lineno, f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Attribute):
            holder = ast.unparse(node.value)
            for pattern, kinds in RECEIVERS.items():
                if re.search(rf"(^|[._])({pattern})$", holder) and node.attr in private_names(kinds):
                    yield node.lineno, f"{holder}.{node.attr}"
            if holder in ("dg", "dagster") and node.attr.startswith("_"):
                yield node.lineno, f"{holder}.{node.attr}"
        elif isinstance(node, ast.Constant) and id(node) not in docstrings and TEXT.search(str(node.value)):
            yield node.lineno, repr(node.value)


def in_lines(text: str) -> Iterator[tuple[int, str]]:
    """Line and name of each use in YAML and the like; comments do not count."""
    for number, line in enumerate(text.splitlines(), 1):
        if TEXT.search(line.partition("#")[0].strip()):
            yield number, line.strip()


def uses_in(path: Path) -> list[tuple[int, str]]:
    """Line and name of each use in a file."""
    text = path.read_text("utf-8")
    return sorted(set(in_python(text) if path.suffix == ".py" else in_lines(text)))


def _is_private_module(name: str) -> bool:
    root, _, rest = name.partition(".")
    return (
        (root == "dagster" and rest.startswith("_")) or root == "dagster_shared" or (root in LIBRARIES and bool(rest))
    )


def _is_public(value: object) -> bool:
    try:
        return bool(is_public(value))
    except (AttributeError, TypeError):
        return False


def _docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The identity of the expression that a definition begins with, if it begins with one."""
    first = node.body[0] if node.body else None
    return id(first.value) if isinstance(first, ast.Expr) else 0
