"""Ends the parts of a `touchline serve` that was killed: `python -m touchline_cli.guardian`.

Belongs here: the process that outlives its parent for that. It reads a pipe that the parent holds open: the end of the
pipe is the end of the parent, however it came. What there is to end stands in `serve.lock`, and after an orderly end
that is nothing.
"""

from __future__ import annotations

import sys

from touchline_cli.serving import end_left, parts_of


def main() -> None:
    """Waits for the end of standard input, then ends what is left, in order: runs at work tell their jobs."""
    while sys.stdin.buffer.read(4096):
        pass
    from resources.settings import Settings

    settings = Settings.from_environment()
    told = parts_of(settings.home)
    if not told.get("parts"):
        return
    from resources.local_services import LocalServices
    from touchline.errors import TouchlineError

    services = LocalServices(settings)
    try:
        # The parts hold no lease of the servers; as long as runs are being ended, nobody may end these under them.
        services.start()
    except TouchlineError as error:
        print(f"`touchline serve` was killed; its servers cannot be reached: {error}", file=sys.stderr)
    try:
        end_left(told)
    finally:
        services.stop()


if __name__ == "__main__":
    main()
