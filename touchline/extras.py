"""How Touchline and its extras are installed, in the words of the README. Belongs here: these sentences.

Touchline is installed from its source with the pinned versions; a package index may know the name as another's.
"""


def install(extra: str) -> str:
    """What to type, in the folder of the source, for the extra of that name ("yolo", "doctr")."""
    return f"in the folder of Touchline's source: .venv/bin/pip install -c constraints.txt -e '.[{extra}]'"


def install_again() -> str:
    """What to type after the source was updated, where the installation is of an earlier version."""
    return "run make again, or in the folder of Touchline's source: .venv/bin/pip install -c constraints.txt -e ."
