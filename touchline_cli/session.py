"""Shared by the commands: servers and clients, checks of options, and output.

Belongs here: opening and closing what a command needs, refusing bad input, and printing.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from detection_assets.dagster_internals.silence import silence_dagster
from touchline.errors import BadInputError
from touchline_cli.hints import with_program

if TYPE_CHECKING:
    from detection_assets.dagster_internals.clients import Clients
    from detection_assets.local.worker_pool import Workers
    from resources.connection import Connection
    from resources.database import Database
    from resources.local_services import Endpoints

console = Console()
errors = Console(stderr=True)
above: Console | None = None
"""The console for errors while progress bars are shown; lines on another console would be overwritten by the bars."""


@contextmanager
def servers(*, objects: bool = True) -> Iterator[Endpoints]:
    """The servers' addresses; embedded servers are started if needed. Without `objects`, the database only."""
    from resources.local_services import OBJECTS, POSTGRES, LocalServices
    from resources.settings import Settings

    services = LocalServices(Settings.from_environment(), only=(POSTGRES, OBJECTS) if objects else (POSTGRES,))
    try:
        yield services.start()
    finally:
        services.stop()


@contextmanager
def storage() -> Iterator[Connection]:
    """The database and the object store, without Dagster."""
    from resources.connection import connect

    with servers() as endpoints:
        yield connect(endpoints)


@contextmanager
def worker_pool(count: int) -> Iterator[tuple[Workers, Connection]]:
    """`count` worker processes for runs, and their storage. The processes load while the servers start.

    SIGTERM and SIGHUP interrupt them as Ctrl-C does.
    """
    from detection_assets.local.worker_pool import Workers
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
            # Before their servers stop.
            workers.close()


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP interrupt the block as Ctrl-C does, unless they were ignored at the start (nohup)."""

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
def database() -> Iterator[Database]:
    """The database only, with its tables migrated."""
    from resources.database import Database

    with servers(objects=False) as endpoints:
        opened = Database(endpoints.postgres_url, patience_s=endpoints.patience_s)
        try:
            opened.migrate()
            yield opened
        finally:
            opened.close()


@contextmanager
def clients() -> Iterator[Clients]:
    """The database, the object store and Dagster's instance, without definitions."""
    silence_dagster()
    from detection_assets.dagster_internals.clients import Clients
    from resources.settings import Settings

    with servers() as endpoints:
        opened = Clients(Settings.from_environment(), endpoints)
        try:
            yield opened
        finally:
            opened.close()


def parse_overrides(items: Sequence[str]) -> dict[str, Any]:
    """The settings of `stage.field=value` pairs. Values are parsed as YAML here, once."""
    from touchline.profiles import parse_override

    found: dict[str, Any] = {}
    for item in items:
        path, equals, value = item.partition("=")
        if not equals or "." not in path:
            raise BadInputError(f"--set {item}: expected STAGE.FIELD=VALUE, such as run_ocr.min_confidence=0.6")
        found[path.strip()] = parse_override(path.strip(), value)
    return found


def check_settings(profile: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """The overrides with validated values and current names; warns about former names.

    Raises BadInputError for an unknown profile, stage or field, and for an invalid value.
    """
    from touchline.profiles import DEFAULT_PROFILE, by_stage, current_names, load_profile, with_settings

    settings = current_names(by_stage(overrides), warn)
    changed = with_settings(load_profile(profile or DEFAULT_PROFILE, warn), settings)
    return {
        f"{stage}.{name}": getattr(changed.stage(stage), name) for stage, values in settings.items() for name in values
    }


def check_stage(name: str | None, option: str, *, report: bool) -> None:
    """Raises BadInputError for a name that is not a stage."""
    from touchline.nodes import NODE_NAMES, REPORT

    known = (*NODE_NAMES, REPORT) if report else NODE_NAMES
    if name is not None and name not in known:
        raise BadInputError(f"{option} {name}: unknown stage; expected one of {', '.join(known)}")


def check_effect(
    first: str | None,
    until: str | None,
    overrides: Collection[str] = (),
    brands: Path | None = None,
    job: str | None = None,
    report: Path | None = None,
) -> tuple[str, ...]:
    """The stages that run. Raises BadInputError for options without effect on them."""
    from detection_assets.jobs.run_config import refuse_unused
    from touchline.nodes import selection

    stages = selection(first, until)
    refuse_unused(stages, overrides=overrides, brands_csv=brands, from_job=job, report=report)
    return stages


def check_brands(path: Path | None) -> None:
    """Raises BadInputError for a list of brands that cannot be used; warns about rows that are left out."""
    if path is not None:
        from touchline.brands import read_csv

        read_csv(path, warn)


def say(text: str) -> None:
    """Prints one line without markup or wrapping; `touchline` commands in it are adapted by `with_program`."""
    console.print(with_program(text), markup=False, highlight=False, soft_wrap=True)


def complain(text: str, style: str = "red") -> None:
    """Prints one line on standard error, in colour, as `say` does."""
    (above or errors).print(with_program(text), style=style, markup=False, highlight=False, soft_wrap=True)


def warn(text: str) -> None:
    """Prints a warning on standard error."""
    complain(text, "yellow")


def print_json(value: Any) -> None:
    """Prints JSON on standard output; if its encoding is not UTF-8, other characters than ASCII are escaped."""
    plain = not (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf8")
    print(json.dumps(value, indent=2, ensure_ascii=plain, default=str))


def escaped(text: str) -> str:
    """A text whose brackets are no markup."""
    return escape(text)


def columns(*names: str, title: str | None = None) -> Table:
    """A table no wider than the terminal, in which nothing is cut off: what is too long goes on in the next line."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, title=title, title_justify="left")
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def bar(as_json: bool) -> Progress:
    """A progress bar on standard error, shown at a terminal only: elsewhere it would leave an empty line."""
    return Progress(console=errors, transient=True, disable=as_json or not errors.is_terminal)


def confirm(question: str, yes: bool, as_json: bool) -> None:
    """Returns if the user agrees, by --yes or at the terminal.

    Raises BadInputError if there is no terminal, or the answer is no.
    """
    if yes:
        return
    if as_json or not sys.stdin.isatty() or not errors.is_terminal:
        raise BadInputError("nothing was deleted: there is no terminal to confirm at; add --yes")
    errors.print(f"{question} [y/N] ", end="", markup=False, highlight=False)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise BadInputError("nothing was deleted")


def when(moment: datetime) -> str:
    """A moment in local time: month, day and time in the current year, else the date."""
    local = moment.astimezone()
    return f"{local:%m-%d %H:%M}" if local.year == datetime.now().astimezone().year else f"{local:%Y-%m-%d}"


def length(seconds: float | None) -> str:
    """A duration in seconds as h:mm:ss or m:ss; "" for pictures and unknown durations."""
    if not seconds:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(number: int | None) -> str:
    """A number of bytes in B, kB, MB or GB; "" for None."""
    if number is None:
        return ""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number} B"


def brand_table(report: dict[str, Any], title: str, extra: dict[str, str] | None = None) -> Table:
    """A table of the brands of a report.json, most seconds first. Still pictures have no seconds.

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
