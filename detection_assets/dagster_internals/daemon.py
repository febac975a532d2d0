"""`dagster-daemon` under this interpreter: `python -m detection_assets.dagster_internals.daemon run -w WORKSPACE`.

Belongs here: finding that command by its entry point. Its path varies, and Dagster documents no module for it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Final

COMMAND: Final = "dagster-daemon"


def command() -> Callable[[], Any]:
    """The command, which reads `sys.argv`. Raises ValueError if Dagster does not install it."""
    (found,) = entry_points(group="console_scripts", name=COMMAND)
    return found.load()  # type: ignore[no-any-return]


if __name__ == "__main__":
    command()()
