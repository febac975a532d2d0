"""What commands share: servers, the runner, tables, and checks before any work.

Belongs here: opening and closing what a command needs, and refusing bad input.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from detection_assets.quiet import quiet
from touchline.errors import BadInputError

if TYPE_CHECKING:
    from detection_assets.runner import Runner
    from detection_assets.side_by_side import Workers
    from resources.connection import Connection
    from resources.local_services import Endpoints

console = Console()
errors = Console(stderr=True)


@contextmanager
def servers() -> Iterator[Endpoints]:
    """The servers, started if need be; let go of at the end."""
    from resources.local_services import LocalServices
    from resources.settings import Settings

    services = LocalServices(Settings.from_environment())
    try:
        yield services.start()
    finally:
        services.stop()


@contextmanager
def storage() -> Iterator[Connection]:
    """Database and object store, without Dagster."""
    from resources.connection import connect

    with servers() as endpoints:
        yield connect(endpoints)


@contextmanager
def working(count: int) -> Iterator[tuple[Workers, Connection]]:
    """`count` processes that do runs, and the storage they use; they load while the servers start.

    SIGTERM and the end of the terminal interrupt them as Ctrl-C does.
    """
    from detection_assets.side_by_side import Workers
    from resources.connection import connect
    from resources.settings import Settings

    with interruptible(), ExitStack() as stack:
        workers = Workers(Settings.from_environment(), None, count)
        stack.callback(workers.close)
        endpoints = stack.enter_context(servers())
        try:
            connection = connect(endpoints)
            workers.connect(endpoints)
            yield workers, connection
        finally:
            # Before the servers that they use.
            workers.close()


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, unless whoever started us had them ignored (nohup)."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    changed = {
        number: signal.signal(number, interrupt)
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
    }
    try:
        yield
    finally:
        for number, handler in changed.items():
            signal.signal(number, handler)


@contextmanager
def runner() -> Iterator[Runner]:
    """Everything that runs need."""
    quiet()
    from detection_assets.runner import Runner
    from resources.settings import Settings

    with servers() as endpoints:
        opened = Runner(Settings.from_environment(), endpoints)
        try:
            yield opened
        finally:
            opened.close()


def parse_overrides(items: Sequence[str]) -> dict[str, Any]:
    """`stage.field=value` pairs, checked for their form alone."""
    found: dict[str, Any] = {}
    for item in items:
        path, equals, value = item.partition("=")
        if not equals or "." not in path:
            raise BadInputError(f"--set {item}: expected STAGE.FIELD=VALUE, such as run_ocr.min_confidence=0.6")
        found[path.strip()] = value
    return found


def check_settings(profile: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """The overrides with their values parsed. Raises BadInputError for an unknown profile, stage, field or value."""
    from touchline.profiles import apply_overrides, load_profile

    changed = apply_overrides(load_profile(profile) if profile else load_profile(), overrides)
    return {path: getattr(changed.stage(path.partition(".")[0]), path.partition(".")[2]) for path in overrides}


def check_stage(name: str | None, option: str, *, report: bool) -> None:
    """Refuses a name that is no stage."""
    from touchline.nodes import NODE_NAMES, REPORT

    known = (*NODE_NAMES, REPORT) if report else NODE_NAMES
    if name is not None and name not in known:
        raise BadInputError(f"{option} {name}: unknown stage; expected one of {', '.join(known)}")


def check_brands(path: Path | None) -> None:
    """Refuses a list of brands that cannot be used, and tells what of it is left out."""
    if path is not None:
        from touchline.brands import read_csv

        read_csv(path, warn)


def say(text: str) -> None:
    """One line for people, as it is: brackets are no markup, and paths are not broken."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def complain(text: str, style: str = "red") -> None:
    """The same on standard error, in colour."""
    errors.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def warn(text: str) -> None:
    """The same, of what is no fault and must be known."""
    complain(text, "yellow")


def print_json(value: Any) -> None:
    """JSON on standard output, nothing else there; letters that its encoding lacks are escaped as JSON does."""
    plain = not (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf8")
    print(json.dumps(value, indent=2, ensure_ascii=plain, default=str))


def print_whole(table: Table) -> None:
    """A table with no cell cut or broken, however narrow the terminal: ids and paths are there to be copied."""
    wide = Console(width=10_000, file=console.file)
    wide.width = max(wide.measure(table).maximum, console.width)
    wide.print(table)


def brand_table(report: dict[str, Any], title: str, extra: dict[str, str] | None = None) -> Table:
    """The brands of a report.json, most seconds first; of a still picture, which has none, where they are seen.

    `extra` adds a column of true seconds by brand.
    """
    from touchline.report.model import ZONE_WORDS, zones_seen

    still = bool(report["media"]["is_image"])
    table = Table(title=title, title_justify="left")
    for name, right in (("brand", False), ("where", False), ("seconds", True), ("times", True), ("visibility", True)):
        table.add_column(name, justify="right" if right else "left")
    if extra is not None:
        table.add_column("shown [s]", justify="right")
    for brand in report["brands"]:
        zones = zones_seen(brand["zones"], (stretch["zone"] for stretch in brand["stretches"]))
        row = [brand["name"], ", ".join(ZONE_WORDS[zone] for zone in zones)]
        row += ["still", "-"] if still else [f"{brand['seconds']:.1f}", str(brand["occurrences"])]
        row.append(f"{brand['visibility']:.3f}")
        if extra is not None:
            row.append(extra.get(brand["name"], "-"))
        table.add_row(*row)
    return table
