"""Ends the parts of a killed `touchline serve`: `python -m touchline_cli.guardian`.

Belongs here: the process that outlives its parent for this purpose. It reads a pipe that the parent holds open: end of
file means that the parent has ended. `serve.lock` lists the parts; after a regular exit the list is empty.
"""

from __future__ import annotations

import sys

from touchline_cli.serving import end_parts, state_of


def main() -> None:
    """Waits for the end of standard input, then ends the remaining parts. Running runs record it in their jobs."""
    while sys.stdin.buffer.read(4096):
        pass
    from resources.settings import Settings

    settings = Settings.from_environment()
    state = state_of(settings.home)
    if not state.get("parts"):
        return
    from resources.local_services import LocalServices
    from touchline.errors import TouchlineError

    services = LocalServices(settings)
    try:
        # The parts hold no lease of the servers. This lease keeps the servers running until the runs have ended.
        services.start()
    except TouchlineError as error:
        print(f"`touchline serve` was killed; its servers cannot be reached: {error}", file=sys.stderr)
    try:
        end_parts(state)
    finally:
        services.stop()


if __name__ == "__main__":
    main()
