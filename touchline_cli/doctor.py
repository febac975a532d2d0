"""`touchline doctor`: configuration, servers, packages and models."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from rich.table import Table

from touchline_cli import session
from touchline_cli.hints import with_program

if TYPE_CHECKING:
    from resources.settings import Settings
    from touchline.plugins import Group

PACKAGES = (
    "touchline",
    "dagster",
    "dagster-webserver",
    "opencv-python",
    "av",
    "rapidocr",
    "onnxruntime",
    "openvino",
    "rapidfuzz",
)
OPTIONAL = {"ultralytics": "yolo", "python-doctr": "doctr"}


def doctor(as_json: bool) -> int:
    """Prints the state of the installation; starts no server. Returns 1 if an external server does not answer."""
    from resources.local_services import LocalServices
    from resources.settings import ENVIRONMENT, Settings
    from touchline.machine import in_words

    settings = Settings.from_environment()
    services = LocalServices(settings).status()
    environment = [{"name": v.name, "value": _shown(v.name, v.secret), "default": v.default} for v in ENVIRONMENT]
    found: dict[str, Any] = {
        "home": str(settings.home),
        "python": platform.python_version(),
        "processor": in_words(),
        "services": [
            {"name": s.name, "kind": "embedded" if s.embedded else "external", "running": s.running}
            | {"answers": s.answers, "address": s.address, "version": s.version, "data": s.data}
            for s in services
        ],
        "environment": environment,
        "packages": {name: _version(name) for name in (*PACKAGES, *OPTIONAL)},
        "models": _models(settings),
        "uploads": _uploads(settings),
        "profiles": _profiles(),
    }
    if as_json:
        session.print_json(found)
    else:
        _print(found)
    return 1 if any(not s.embedded and not s.running for s in services) else 0


def _uploads(settings: Settings) -> list[dict[str, str]]:
    """Uploads that could not be probed, with the reason; empty if no database with Touchline's tables is running."""
    import sqlalchemy as sa

    from resources.database import Database
    from resources.local_services import LocalServices
    from touchline.library import repository
    from touchline.library.tables import Upload

    url = LocalServices(settings).running_postgres()
    if not url:
        return []
    database = Database(url, patience_s=0)
    try:
        with database.session() as rows:
            if not sa.inspect(rows.connection()).has_table(Upload.__tablename__):
                return []
            troubled = repository.uploads_with_errors(rows)
    finally:
        database.close()
    return [{"upload": row.location + row.key, "waits_because": row.reason} for row in troubled]


def _models(settings: Settings) -> dict[str, str]:
    """The state of each engine and detector of the installed packages; only the configured detector is loaded."""
    from resources.models import default_weights
    from touchline.errors import TouchlineError
    from touchline.plugins import DETECTORS, OCR_ENGINES
    from touchline.profiles import load_profile
    from touchline.stages.detect_objects import configured_detector

    models = {}
    config = load_profile().detect_objects
    for name in OCR_ENGINES.names():
        models[f"OCR ({name})"] = _state(OCR_ENGINES, name)
    for name in DETECTORS.names():
        models[f"object detector ({name})"] = _state(DETECTORS, name)
    try:
        in_use = configured_detector(config, default_weights(config, settings)).identity
    except TouchlineError as error:
        in_use = f"off: {error}"
    models[f"object detector ({config.detector})"] = in_use
    models["local VLM"] = "off: not configured"
    models["cloud LLM"] = "off: not configured"
    return models


def _state(group: Group, name: str) -> str:
    """Whether a model can be loaded, and its package; nothing is loaded."""
    from touchline.errors import TouchlineError
    from touchline.plugins import TellsWhatIsMissing, package_of

    try:
        entry, found = group.find(name), group.load(name)
    except TouchlineError as error:
        return f"off: {error}"
    missing = found.missing() if isinstance(found, TellsWhatIsMissing) else ""
    return f"off: {missing}" if missing else f"installed, from {package_of(entry)}"


def _profiles() -> list[dict[str, str]]:
    from touchline.errors import BadInputError
    from touchline.profiles import load_profile, own_profiles, profile_names, shipped_names

    rows = []
    for name in profile_names():
        try:
            load_profile(name, session.warn)
            error = ""
        except BadInputError as refused:
            error = str(refused)
        where = "shipped" if name in shipped_names() else str(own_profiles() / f"{name}.yaml")
        rows.append({"name": name, "where": where, "error": error})
    return rows


def _shown(name: str, secret: bool) -> str:
    value = os.environ.get(name, "")
    return "(set, not shown)" if value and secret else value


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        extra = OPTIONAL.get(name)
        return f"not installed (extra {extra})" if extra else "not installed"


def _print(found: dict[str, Any]) -> None:
    session.say(f"home: {found['home']}    Python {found['python']}")
    # The list of CPU features can be longer than a line.
    session.console.print(f"processor: {found['processor']}", markup=False, highlight=False)
    services = session.columns("server", "kind", "state", "address", "version", "data", title="Servers")
    for s in found["services"]:
        stopped = "stopped (starts when needed)" if s["kind"] == "embedded" else "NOT REACHABLE"
        _row(
            services,
            s["name"],
            s["kind"],
            stopped if not s["running"] else "running" if s["answers"] else "running, DOES NOT ANSWER",
            s["address"],
            s["version"],
            s["data"],
        )
    environment = session.columns("variable", "value", "default", title="Environment")
    for v in found["environment"]:
        _row(environment, v["name"], v["value"], v["default"])
    packages = session.columns("package", "version", title="Packages")
    for name, number in found["packages"].items():
        _row(packages, name, number)
    models = session.columns("model", "state", title="Models")
    for name, state in found["models"].items():
        _row(models, name, state)
    profiles = session.columns("profile", "where", "state", title="Profiles")
    for profile in found["profiles"]:
        _row(profiles, profile["name"], profile["where"], profile["error"] or "ready")
    uploads = session.columns("upload", "reason", title="Uploads that could not be probed yet")
    for upload in found["uploads"]:
        _row(uploads, upload["upload"], upload["waits_because"])
    for table in (services, environment, packages, models, profiles, *([uploads] if found["uploads"] else [])):
        session.console.print()
        session.console.print(table)


def _row(table: Table, *cells: str) -> None:
    table.add_row(*(session.escaped(with_program(cell)) for cell in cells))
