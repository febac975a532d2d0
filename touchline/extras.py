"""The install commands of Touchline and its extras, as in the README. Belongs here: these messages.

Touchline is installed from its source with pinned versions. On a package index, the name may belong to others.
"""


def install(extra: str) -> str:
    """The command that installs an extra ("yolo", "doctr"), and where to run it."""
    return f"in the folder of Touchline's source: .venv/bin/pip install -c constraints.txt -e '.[{extra}]'"


def install_again() -> str:
    """The command that updates an installation after the source was updated."""
    return "run make again, or in the folder of Touchline's source: .venv/bin/pip install -c constraints.txt -e ."
