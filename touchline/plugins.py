"""OCR engines and object detectors of installed packages, found by name through Python's entry points.

Belongs here: the two groups, lookup, loading, and their errors. The protocol of an engine is in
`touchline/ocr/engine.py`, that of a detector in `touchline/vision/detector.py`; `docs/engines.md` shows how to add one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Protocol, runtime_checkable

from touchline.errors import BadInputError, ModelUnavailableError
from touchline.extras import install_again

OWN: Final = "touchline"
"""Name of the distribution that contains Touchline's own engines and detectors."""


@runtime_checkable
class TellsWhatIsMissing(Protocol):
    """An engine or detector that can say, without loading a model, whether a model can be loaded."""

    def missing(self) -> str:
        """What is missing and what to do about it; empty if nothing is missing."""
        ...


@dataclass(frozen=True, slots=True)
class Group:
    """A group of entry points: its name in package metadata, and the word for its members in messages."""

    name: str
    kind: str

    def names(self) -> list[str]:
        """The names of all entry points of the group, sorted."""
        return sorted({entry.name for entry in self._entries()})

    def find(self, name: str) -> EntryPoint:
        """The entry point of that name. Its package is not imported.

        Raises BadInputError if no installed package has that name, or if two packages have it.
        """
        entries = self._entries()
        found = [entry for entry in entries if entry.name == name]
        if not found:
            known = ", ".join(sorted({entry.name for entry in entries})) or "none"
            raise BadInputError(f"unknown {self.kind} {name!r}; installed are: {known}{_out_of_date(entries)}")
        if len(found) > 1:
            claims = " and ".join(sorted(f"{package_of(entry)} ({entry.value})" for entry in found))
            raise BadInputError(f"{self.kind} {name!r} is offered by {claims}; uninstall all but one of them")
        return found[0]

    def load(self, name: str) -> Any:
        """The object of the entry point of that name. It has a `from_settings`.

        Raises BadInputError as `find` does, and ModelUnavailableError if the object cannot be imported or has no
        `from_settings`.
        """
        entry = self.find(name)
        where = f"{self.kind} {name!r} of {package_of(entry)} ({entry.value})"
        try:
            found = entry.load()
        except Exception as error:  # whatever a package raises while it is imported
            raise ModelUnavailableError(
                f"{where} cannot be imported ({type(error).__name__}: {error}); install what its package needs"
            ) from error
        if not callable(getattr(found, "from_settings", None)):
            raise ModelUnavailableError(f"{where} has no from_settings; docs/engines.md says what is expected")
        return found

    def make(self, name: str, settings: object, expected: Sequence[str]) -> Any:
        """The model of that name, loaded with `settings`. It must have the `expected` attributes.

        Raises what `load` and the model's own loading raise, and ModelUnavailableError if an attribute is missing.
        """
        model = self.load(name).from_settings(settings)
        if lacking := [attribute for attribute in expected if not hasattr(model, attribute)]:
            raise ModelUnavailableError(
                f"{self.kind} {name!r} of {package_of(self.find(name))} lacks {', '.join(lacking)}; "
                f"expected {', '.join(expected)}"
            )
        return model

    def _entries(self) -> list[EntryPoint]:
        return list(entry_points(group=self.name))


OCR_ENGINES: Final = Group("touchline.ocr_engines", "OCR engine")
DETECTORS: Final = Group("touchline.detectors", "object detector")
GROUPS: Final = {group.name: group for group in (OCR_ENGINES, DETECTORS)}


def package_of(entry: EntryPoint) -> str:
    """Name and version of an entry point's distribution."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"


def _out_of_date(entries: Sequence[EntryPoint]) -> str:
    """What to do if the installed metadata lacks Touchline's own entry points; empty if it has them."""
    if any(entry.dist and entry.dist.name == OWN for entry in entries):
        return ""
    return f". Touchline's own are not among them: it was installed from an earlier version; {install_again()}"
