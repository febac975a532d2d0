"""Commands of `touchline` in this process: what they print and how they end, without the seconds that a process loads.

Belongs here: what tests of words, refusals and small commands share. Commands that are interrupted, killed or at a
terminal are processes of their own, in the tests of these.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from unittest import mock

from touchline_cli.app import main


@dataclass(frozen=True)
class Done:
    """How a command ended, named as those of `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


def done(*words: object, code: int | None = 0, environment: Mapping[str, str] | None = None) -> Done:
    """Runs a command to its end, which must be with `code` if given; `environment` stands in for this process's."""
    out, err = io.StringIO(), io.StringIO()
    log = logging.getLogger("dagster")
    level, ended = log.level, 0
    with (
        mock.patch.dict(os.environ, environment or {}, clear=environment is not None),
        mock.patch.object(sys, "argv", ["touchline", *map(str, words)]),
        mock.patch.object(sys, "stdin", io.StringIO()),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        # Errors in tests alone, and not in the process that this stands for.
        warnings.simplefilter("ignore")
        try:
            main()
        except SystemExit as end:
            ended = int(end.code or 0)
        finally:
            log.setLevel(level)
    assert code is None or ended == code, f"{words}\n{out.getvalue()}\n{err.getvalue()}"
    return Done(ended, out.getvalue(), err.getvalue())
