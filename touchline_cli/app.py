"""`touchline`: the commands and their options. Imports stay inside functions, so that --help is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from touchline.disk import is_full, told
from touchline.errors import BadInputError, TouchlineError
from touchline_cli.hints import fitted
from touchline_cli.output import bear_any_text
from touchline_cli.paths import local, videos

app = typer.Typer(
    name="touchline",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
brands_app = typer.Typer(invoke_without_command=True)
app.add_typer(brands_app, name="brands")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Profile = Annotated[str, typer.Option("--profile", "-p", help="Profile of settings.")]
Override = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STAGE.FIELD=VALUE", help="Change one setting of the profile; repeatable."),
]
Report = Annotated[
    Path | None,
    typer.Option(
        "--report", callback=local, help="Write the report into DIR/<stem>: report.html, two CSV files, report.json."
    ),
]
Priority = Annotated[int, typer.Option("--priority", help="Place in Dagster's queue, higher first; kept with the job.")]
Server = Annotated[
    str | None, typer.Option("--server", metavar="URL", help="Dagster webserver; else the one of `touchline serve`.")
]
JobId = Annotated[
    str, typer.Argument(metavar="JOB", help="Id of a job or its beginning, as `touchline jobs` shows it.")
]
Brands = Annotated[
    Path | None, typer.Option("--brands", callback=local, help="CSV of brands to match against, for this run only.")
]
Source = Annotated[str, typer.Argument(help="Partition key, its beginning, or path of a registered source.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.callback()
def touchline(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Brand detection in soccer broadcast video, as a Dagster asset graph."""
    if version:
        from importlib.metadata import version as installed

        print(f"touchline {installed('touchline')}")
        raise typer.Exit
    _help_if_alone(context)


@brands_app.callback()
def brands(context: typer.Context) -> None:
    """The brands that readings are matched against."""
    _help_if_alone(context)


def _help_if_alone(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


@app.command()
def demo(json_output: Json = False) -> None:
    """Render a synthetic broadcast, run all nodes on it, print the brands found beside those shown."""
    from touchline_cli.demo import demo as command

    raise typer.Exit(command(json_output))


@app.command()
def run(
    video: Annotated[list[str], typer.Argument(metavar="VIDEO...", help="Videos or pictures (png, jpg, heic...).")],
    profile: Profile = "soccer_broadcast",
    overrides: Override = None,
    brands: Brands = None,
    report: Report = None,
    until: Annotated[str | None, typer.Option("--until", metavar="STAGE", help="Stop after this stage.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start from the beginning: reuse and resume nothing.")] = False,
    priority: Priority = 0,
    debug_pictures: Annotated[
        Path | None,
        typer.Option(
            "--debug-pictures", metavar="DIR", callback=local, help="Write kept frames with all findings drawn in."
        ),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option("--at-once", min=1, metavar="N", help="Sources worked on at once, sharing the cores."),
    ] = None,
    json_output: Json = False,
) -> None:
    """Find the brands in videos or pictures. The same command again continues what was interrupted."""
    from touchline_cli.run import run as command

    raise typer.Exit(
        command(
            videos(video),
            profile,
            overrides or [],
            brands,
            report,
            until,
            fresh,
            priority,
            debug_pictures,
            at_once,
            json_output,
        )
    )


@app.command()
def replay(
    source: Source,
    first: Annotated[str, typer.Option("--from", metavar="STAGE", help="First stage to run again.")],
    job: Annotated[str | None, typer.Option("--job", help="Read the checkpoints of this job; else the newest.")] = None,
    profile: Annotated[str, typer.Option("--profile", "-p", help="Profile of settings; else the source's own.")] = "",
    overrides: Override = None,
    brands: Brands = None,
    report: Report = None,
    priority: Priority = 0,
    json_output: Json = False,
) -> None:
    """Run a source again from a stage on, with everything before it loaded from checkpoints."""
    from touchline_cli.run import replay as command

    raise typer.Exit(command(source, first, job, profile, overrides or [], brands, report, priority, json_output))


@app.command()
def backfill(
    first: Annotated[str, typer.Option("--from", metavar="STAGE", help="First stage to run again.")],
    profile: Annotated[str, typer.Option("--profile", "-p", help="Profile of settings; else each source's own.")] = "",
    overrides: Override = None,
    brands: Annotated[
        Path | None, typer.Option("--brands", callback=local, help="CSV of brands to match against, for these runs.")
    ] = None,
    only: Annotated[
        str | None, typer.Option("--only", metavar="PATTERN", help="Sources whose key or path matches, as *napoli*.")
    ] = None,
    priority: Annotated[int, typer.Option("--priority", help="Place in the queue; new uploads have 0.")] = -10,
    server: Server = None,
    json_output: Json = False,
) -> None:
    """Run many sources again from a stage on, one run a source: in the queue where the webserver runs, else here."""
    from touchline_cli.backfill import backfill as command

    raise typer.Exit(command(first, profile, overrides or [], brands, only, priority, server, json_output))


@app.command()
def serve(
    host: Annotated[str, typer.Option("--host", help="Address the Dagster webserver listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Its port; 0 takes a free one.")] = 3000,
) -> None:
    """Bring everything up: servers, Dagster webserver and daemon. Ctrl-C ends what was started."""
    from touchline_cli.serve import serve as command

    raise typer.Exit(command(host, port))


@app.command()
def report(
    source: Source,
    out: Annotated[
        Path,
        typer.Option(
            "--out", callback=local, help="Folder to write the report into: report.html, two CSV files, report.json."
        ),
    ],
    job: Annotated[str | None, typer.Option("--job", help="Report of this job; else the newest.")] = None,
) -> None:
    """Fetch the report of a source."""
    from touchline_cli.library import report as command

    raise typer.Exit(command(source, out, job))


@app.command()
def jobs(
    source: Annotated[
        str | None, typer.Argument(help="Partition key, its beginning, or path; all sources without it.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Jobs listed, newest first.")] = 30,
    json_output: Json = False,
) -> None:
    """List jobs: what ran, on what, how far it came."""
    from touchline_cli.library import jobs as command

    raise typer.Exit(command(source, limit, json_output))


@app.command()
def sources(
    only: Annotated[
        str | None, typer.Option("--only", metavar="PATTERN", help="Sources whose key or path matches, as *napoli*.")
    ] = None,
    json_output: Json = False,
) -> None:
    """List the sources: what they are, how long, and how their newest job stands."""
    from touchline_cli.sources import sources as command

    raise typer.Exit(command(only, json_output))


@app.command()
def pause(job: JobId, json_output: Json = False) -> None:
    """Stop a job at its next chunk; `resume` goes on from there."""
    from touchline_cli.control import pause as command

    raise typer.Exit(command(job, json_output))


@app.command()
def resume(
    job: JobId,
    report: Report = None,
    priority: Annotated[
        int | None, typer.Option("--priority", help="Place in Dagster's queue; else that of the job.")
    ] = None,
    server: Server = None,
    json_output: Json = False,
) -> None:
    """Go on with a job that was paused or failed: in the queue where the webserver runs, else here."""
    from touchline_cli.control import resume as command

    raise typer.Exit(command(job, report, priority, server, json_output))


@app.command()
def cancel(job: JobId, server: Server = None, json_output: Json = False) -> None:
    """End a job for good. What it finished is kept and can be reused."""
    from touchline_cli.control import cancel as command

    raise typer.Exit(command(job, server, json_output))


@app.command()
def forget(
    source: Source,
    dry_run: DryRun = False,
    yes: Yes = False,
    json_output: Json = False,
) -> None:
    """Retire a source: its frames, checkpoints, reports, rows and partition. The video itself is not touched."""
    from touchline_cli.forget import forget as command

    raise typer.Exit(command(source, dry_run, yes, json_output))


@app.command()
def gc(
    dry_run: DryRun = False,
    older_than: Annotated[
        float, typer.Option("--older-than", metavar="HOURS", min=0, help="Leave alone what is younger than this.")
    ] = 1.0,
    yes: Yes = False,
    json_output: Json = False,
) -> None:
    """Free what no checkpoint, journal in use, scenario or report needs. Safe beside running jobs."""
    from touchline_cli.gc import gc as command

    raise typer.Exit(command(dry_run, older_than, yes, json_output))


@app.command()
def doctor(
    source: Annotated[
        str | None, typer.Argument(help="With --verify: partition key or path; all sources without it.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read every checkpoint and tell which are damaged.")] = False,
    frames: Annotated[bool, typer.Option("--frames", help="With --verify: read every frame, too.")] = False,
    json_output: Json = False,
) -> None:
    """Tell what is configured, reachable and installed, and which models are there; or verify what is stored."""
    if verify:
        from touchline_cli.verify import verify as check

        raise typer.Exit(check(source, frames, json_output))
    if source is not None or frames:
        raise BadInputError("doctor: a source and --frames go with --verify")
    from touchline_cli.doctor import doctor as command

    raise typer.Exit(command(json_output))


@brands_app.command("list")
def brands_list(
    json_output: Json = False,
) -> None:
    """List the known brands."""
    from touchline_cli.library import brands_list as command

    raise typer.Exit(command(json_output))


@brands_app.command("import")
def brands_import(
    csv: Annotated[
        Path, typer.Argument(metavar="CSV", callback=local, help="Columns canonical_name,aliases; | between aliases.")
    ],
) -> None:
    """Add brands and aliases to the known ones, permanently."""
    from touchline_cli.library import brands_import as command

    raise typer.Exit(command(csv))


@brands_app.command("store")
def brands_store(
    csv: Annotated[Path, typer.Argument(metavar="CSV", callback=local, help="A file as `brands import` takes it.")],
) -> None:
    """Store a list of brands for single runs, and print the name that Dagster's launchpad takes."""
    from touchline_cli.library import brands_store as command

    raise typer.Exit(command(csv))


def main() -> None:
    """Runs the command line. What is wrong is told in one message; exit code 2 means that nothing was started."""
    from resources.shell import isolate_environment

    bear_any_text()
    isolate_environment()
    try:
        app()
    except TouchlineError as error:
        typer.secho(fitted(f"touchline: {error}"), fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if not is_full(error):
            raise
        typer.secho(fitted(f"touchline: {told(error)}"), fg=typer.colors.RED, err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.secho("touchline: interrupted; run the same command again to continue", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
