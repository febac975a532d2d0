"""The fingerprint of a stage's output: the same ingredients, the same output.

Belongs here: what goes into it, and finding out what has changed since it was made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from touchline.config import StageConfig, silently
from touchline.errors import BadInputError, ModelUnavailableError
from touchline.profiles import Profile, load_profile, with_settings

Identity = Callable[[str, StageConfig], str]
"""Of a stage by its name with these settings: the models and lists its output depends on."""


def fingerprint_of(stage: str, version: str, config: StageConfig, upstream: Sequence[str], identity: str) -> str:
    """SHA-256 over all that a stage's output depends on, hex. Operational settings are no part of it.

    `upstream`: the fingerprints of its inputs in the order of their stages' names; of `extract_frames`, the checksum
    of the video alone.
    """
    content = [stage, version, config.fingerprinted(), list(upstream), identity]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Staleness:
    """Says of a checkpoint why the same stage would give another one today.

    `versions`: the stages' code versions now. `identity`: of the models and lists as they are now.
    """

    def __init__(self, versions: Mapping[str, str], identity: Identity) -> None:
        self._versions = versions
        self._identity = identity
        # A library has many checkpoints and few settings.
        self._known: dict[str, tuple[list[str], StageConfig | None, str | None]] = {}

    def reasons(
        self,
        *,
        stage: str,
        fingerprint: str,
        profile_name: str,
        config_snapshot: Mapping[str, Any],
        config_overrides: Mapping[str, Any],
        upstream: Mapping[str, str],
        newest: Mapping[str, str],
        checksum: str,
        brands_version: str = "",
    ) -> list[str]:
        """Why it is stale, one reason a cause; nothing for one that is up to date.

        `upstream` and `newest`: the fingerprints by stage that it was computed from, and those of the newest
        checkpoints. `brands_version`: of the list it was matched against, where it was matched.
        """
        settings = json.dumps([stage, profile_name, config_snapshot, config_overrides], sort_keys=True)
        if settings not in self._known:
            self._known[settings] = self._judged(stage, profile_name, config_snapshot, config_overrides)
        changed, config, identity = self._known[settings]
        found = list(changed)
        found += [f"{name} was made anew since" for name, old in upstream.items() if newest.get(name, old) != old]
        if config is None or identity is None:
            return found
        if brands_version and identity != brands_version:
            found.append("it was matched against another list of brands than the known ones of today")
            identity = brands_version
        ingredients = list(upstream.values()) or [checksum]
        if fingerprint_of(stage, self._versions[stage], config, ingredients, identity) != fingerprint:
            what = "the model" if upstream else "the content of the video"
            found.append(f"the code of {stage} (now version {self._versions[stage]}) or {what} has changed")
        return found

    def _judged(
        self, stage: str, profile_name: str, snapshot: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> tuple[list[str], StageConfig | None, str | None]:
        """What is said of all checkpoints with these settings: reasons, the settings, and models and lists today."""
        # A setting that came later had its default then.
        kind = self._kind(stage)
        snapshot = {**kind().model_dump(mode="json"), **kind.renamed(snapshot, tell=silently)}
        found = self._settings(stage, profile_name, snapshot, overrides)
        try:
            config = self._kind(stage).model_validate(snapshot)
        except ValidationError as error:
            return [*found, f"its settings have another form now ({error.error_count()} differ)"], None, None
        try:
            return found, config, self._identity(stage, config)
        except (ModelUnavailableError, BadInputError):
            # Without the model nothing can be said of it; `touchline doctor` tells that it is missing. Nor if no
            # installed package offers it any more, or it knows none of the labels.
            return found, config, None

    def _settings(
        self, stage: str, profile_name: str, snapshot: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> list[str]:
        """How the profile has changed: what a run overrode on purpose is not held against it."""
        try:
            changed = with_settings(load_profile(profile_name, silently), {stage: overrides}, silently)
        except BadInputError as error:
            return [str(error)]
        config = changed.stage(stage)
        now = config.decisive()
        decisive = {*now, *snapshot} - config.operational()
        fields = sorted(name for name in decisive if now.get(name) != snapshot.get(name))
        return [f"{stage}.{name}: {snapshot.get(name)!r}, the profile says {now.get(name)!r}" for name in fields]

    @staticmethod
    def _kind(stage: str) -> type[StageConfig]:
        kind = Profile.model_fields[stage].annotation
        assert isinstance(kind, type) and issubclass(kind, StageConfig)
        return kind
