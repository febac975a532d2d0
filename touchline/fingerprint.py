"""The fingerprint of a stage's output. Outputs with the same fingerprint are equal.

Belongs here: what a fingerprint is computed from, and why a checkpoint is stale.
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
"""Function of a stage's name and settings: the identity of the models and brand lists that its output depends on."""


def fingerprint_of(stage: str, version: str, config: StageConfig, upstream: Sequence[str], identity: str) -> str:
    """SHA-256 (hex) of all that a stage's output depends on, without operational settings.

    `upstream` holds the fingerprints of its inputs, in the order of their stages' names. For `extract_frames` it holds
    the checksum of the video.
    """
    content = [stage, version, config.fingerprinted(), list(upstream), identity]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Staleness:
    """Says why a checkpoint is stale, that is, why its stage would now compute another fingerprint.

    `versions` are the current code versions by stage. `identity` gives the current models and brand lists.
    """

    def __init__(self, versions: Mapping[str, str], identity: Identity) -> None:
        self._versions = versions
        self._identity = identity
        # Cached, because a library has many checkpoints but few different settings.
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
        extracted_from: str = "",
        brands_version: str = "",
    ) -> list[str]:
        """The reasons why a checkpoint is stale; empty if it is up to date.

        `upstream` and `newest` are fingerprints by stage: those that it was computed from, and those of the newest
        checkpoints. `checksum` is that of the source's registered content. `extracted_from` is that of the content
        from which frames were extracted, if known; a difference between the two is not reported here.
        `brands_version` is the version of the list that it was matched against, if any.
        """
        settings = json.dumps([stage, profile_name, config_snapshot, config_overrides], sort_keys=True)
        if settings not in self._known:
            self._known[settings] = self._judged(stage, profile_name, config_snapshot, config_overrides)
        changed, config, identity = self._known[settings]
        found = list(changed)
        found += [f"{name} was computed again later" for name, old in upstream.items() if newest.get(name, old) != old]
        if config is None or identity is None:
            return found
        if brands_version and identity != brands_version:
            found.append("it was matched against another list of brands than the current one")
            identity = brands_version
        ingredients = list(upstream.values()) or [extracted_from or checksum]
        if fingerprint_of(stage, self._versions[stage], config, ingredients, identity) != fingerprint:
            what = " or the model" if upstream else "" if extracted_from else " or the content of the video"
            found.append(f"the code of {stage} (now version {self._versions[stage]}){what} has changed")
        return found

    def _judged(
        self, stage: str, profile_name: str, snapshot: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> tuple[list[str], StageConfig | None, str | None]:
        """(reasons, settings, current identity) of all checkpoints with these settings; None for what is unknown."""
        # A setting that did not exist yet had its default.
        kind = self._kind(stage)
        snapshot = {**kind().model_dump(mode="json"), **kind.renamed(snapshot, tell=silently)}
        found = self._settings(stage, profile_name, snapshot, overrides)
        try:
            config = self._kind(stage).model_validate(snapshot)
        except ValidationError as error:
            return [*found, f"{error.error_count()} of its settings are no longer valid"], None, None
        try:
            return found, config, self._identity(stage, config)
        except (ModelUnavailableError, BadInputError):
            # The identity is unknown if the model is missing (`touchline doctor` reports that), if no installed
            # package offers it any more, or if it knows none of the labels.
            return found, config, None

    def _settings(
        self, stage: str, profile_name: str, snapshot: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> list[str]:
        """Settings in which the checkpoint differs from its profile, apart from the run's own overrides."""
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
