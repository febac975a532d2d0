"""Files that a command names become things that a run can name: registered, and found by their SHA-256.

Belongs here: what is done with such files before a run is asked for. What a run may not name is in
`resources/run_settings.py`; the stores are `resources/brand_lists.py` and `touchline/weights.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from resources.brand_lists import store_list
from resources.object_store import ObjectStore
from touchline.errors import BadInputError
from touchline.profiles import by_stage, dotted
from touchline.vision.yolo import OFFICIAL_SHA256
from touchline.weights import register

WEIGHTS: Final = "detect_objects.weights"
CHECKSUM: Final = "detect_objects.weights_sha256"


def hand_over(
    objects: ObjectStore, overrides: Mapping[str, Any], brands_csv: Path | None
) -> tuple[dict[str, Any], str]:
    """Stores the list of brands and registers the weights that a command names as files of this machine.

    Returns the overrides with names for paths, and the list's reference (empty without one). Raises BadInputError for
    a file that is missing or no such file, ServiceError if the object store fails.
    """
    changed = dict(overrides)
    value = str(changed.get(WEIGHTS) or "")
    path = Path(value).expanduser()
    if value and (path.name != value or path.is_file()):
        sha256 = str(changed.get(CHECKSUM) or "") or OFFICIAL_SHA256.get(path.name, "")
        changed |= {WEIGHTS: register(path, sha256), CHECKSUM: sha256}
    return changed, store_list(objects, brands_csv) if brands_csv else ""


def handed_over(objects: ObjectStore, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config of an earlier run as it can be asked for again: files that it names are handed over.

    Runs of earlier versions name them. Raises as `hand_over`.
    """
    asked = copy.deepcopy(dict(config))
    settings = asked.setdefault("resources", {}).setdefault("run_settings", {}).setdefault("config", {})
    own = ((asked.get("ops") or {}).get("detect_objects") or {}).get("config") or {}
    named = str(settings.pop("brands_csv", "") or "")
    try:
        changed, brands = hand_over(objects, dotted({"detect_objects": own}), Path(named) if named else None)
    except BadInputError as error:
        raise BadInputError(f"the run names a file of this machine that cannot be taken over: {error}") from error
    own |= by_stage(changed).get("detect_objects", {})
    if brands:
        settings["brands"] = brands
    return asked
