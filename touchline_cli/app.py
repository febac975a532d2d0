"""`touchline`: the commands and their options. Imports are inside functions, so that --help is fast."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from touchline.disk import is_full, told
from touchline.errors import BadInputError, TouchlineError
from touchline_cli.hints import with_program
from touchline_cli.output import escape_unencodable
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
Priority = Annotated[int, typer.Option("--priority", help="Priority in Dagster's queue, higher first.")]
Server = Annotated[
    str | None,
    typer.Option("--server", metavar="URL", help="Dagster webserver; by default the one of `touchline serve`."),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job, or its prefix, as `touchline jobs` shows it.")]
Brands = Annotated[
    Path | None, typer.Option("--brands", callback=local, help="CSV of brands to match against, for this run only.")
]
Source = Annotated[str, typer.Argument(help="Partition key, prefix of one, or path of a registered source.")]
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
    """Render a synthetic broadcast, run all stages on it, and compare the brands found with those shown."""
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
    fresh: Annotated[bool, typer.Option("--fresh", help="Compute everything: reuse and resume nothing.")] = False,
    priority: Priority = 0,
    debug_pictures: Annotated[
        Path | None,
        typer.Option(
            "--debug-pictures", metavar="DIR", callback=local, help="Write kept frames with all detections drawn in."
        ),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option("--at-once", min=1, metavar="N", help="Number of sources run in parallel, sharing the cores."),
    ] = None,
    json_output: Json = False,
) -> None:
    """Find the brands in videos or pictures. Run the same command again to continue after an interruption."""
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
    job: Annotated[str | None, typer.Option("--job", help="Job to read checkpoints of; by default the newest.")] = None,
    profile: Annotated[str, typer.Option("--profile", "-p", help="Profile; by default the source's own.")] = "",
    overrides: Override = None,
    brands: Brands = None,
    report: Report = None,
    priority: Priority = 0,
    json_output: Json = False,
) -> None:
    """Run a source again from a stage on. Earlier stages are loaded from checkpoints."""
    from touchline_cli.run import replay as command

    raise typer.Exit(command(source, first, job, profile, overrides or [], brands, report, priority, json_output))


@app.command()
def backfill(
    first: Annotated[str, typer.Option("--from", metavar="STAGE", help="First stage to run again.")],
    profile: Annotated[str, typer.Option("--profile", "-p", help="Profile; by default each source's own.")] = "",
    overrides: Override = None,
    brands: Annotated[
        Path | None, typer.Option("--brands", callback=local, help="CSV of brands to match against, for these runs.")
    ] = None,
    only: Annotated[
        str | None, typer.Option("--only", metavar="PATTERN", help="Sources whose key or path matches, as *napoli*.")
    ] = None,
    priority: Annotated[int, typer.Option("--priority", help="Priority in the queue; new uploads have 0.")] = -10,
    server: Server = None,
    json_output: Json = False,
) -> None:
    """Run many sources again from a stage on, one run per source: queued by the webserver, or here if there is none."""
    from touchline_cli.backfill import backfill as command

    raise typer.Exit(command(first, profile, overrides or [], brands, only, priority, server, json_output))


@app.command()
def serve(
    host: Annotated[str, typer.Option("--host", help="Address the Dagster webserver listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port of the webserver; 0 takes a free one.")] = 3000,
) -> None:
    """Start the servers, the Dagster webserver and the daemon. Ctrl-C stops them."""
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
    job: Annotated[str | None, typer.Option("--job", help="Job of the report; by default the newest.")] = None,
) -> None:
    """Write the report of a source into a folder."""
    from touchline_cli.library import report as command

    raise typer.Exit(command(source, out, job))


@app.command()
def jobs(
    source: Annotated[
        str | None, typer.Argument(help="Partition key, prefix of one, or path; without it, all sources.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most jobs to list, newest first.")] = 30,
    json_output: Json = False,
) -> None:
    """List jobs with their source, status and progress."""
    from touchline_cli.library import jobs as command

    raise typer.Exit(command(source, limit, json_output))


@app.command()
def sources(
    only: Annotated[
        str | None, typer.Option("--only", metavar="PATTERN", help="Sources whose key or path matches, as *napoli*.")
    ] = None,
    json_output: Json = False,
) -> None:
    """List the sources with their length, size and the status of their newest job."""
    from touchline_cli.sources import sources as command

    raise typer.Exit(command(only, json_output))


@app.command()
def pause(job: JobId, json_output: Json = False) -> None:
    """Stop a job at its next chunk; `resume` continues it from there."""
    from touchline_cli.control import pause as command

    raise typer.Exit(command(job, json_output))


@app.command()
def resume(
    job: JobId,
    report: Report = None,
    priority: Annotated[
        int | None, typer.Option("--priority", help="Priority in Dagster's queue; by default the job's.")
    ] = None,
    server: Server = None,
    json_output: Json = False,
) -> None:
    """Continue a paused or failed job: queued by the webserver, or here if there is none."""
    from touchline_cli.control import resume as command

    raise typer.Exit(command(job, report, priority, server, json_output))


@app.command()
def cancel(job: JobId, server: Server = None, json_output: Json = False) -> None:
    """Cancel a job permanently. Its finished checkpoints are kept and can be reused."""
    from touchline_cli.control import cancel as command

    raise typer.Exit(command(job, server, json_output))


@app.command()
def forget(
    source: Source,
    dry_run: DryRun = False,
    yes: Yes = False,
    json_output: Json = False,
) -> None:
    """Retire a source: delete its frames, checkpoints, reports, rows and partition. The video itself is kept."""
    from touchline_cli.forget import forget as command

    raise typer.Exit(command(source, dry_run, yes, json_output))


@app.command()
def gc(
    dry_run: DryRun = False,
    older_than: Annotated[
        float, typer.Option("--older-than", metavar="HOURS", min=0, help="Keep objects that are younger than this.")
    ] = 1.0,
    yes: Yes = False,
    json_output: Json = False,
) -> None:
    """Delete objects that no checkpoint, journal in use, scenario or report needs. Safe while jobs are running."""
    from touchline_cli.gc import gc as command

    raise typer.Exit(command(dry_run, older_than, yes, json_output))


@app.command()
def doctor(
    source: Annotated[
        str | None, typer.Argument(help="With --verify: partition key or path; without it, all sources.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read every checkpoint and list damaged ones.")] = False,
    frames: Annotated[bool, typer.Option("--frames", help="With --verify: read every frame as well.")] = False,
    json_output: Json = False,
) -> None:
    """Show configuration, servers, packages and models; or verify what is stored."""
    if verify:
        from touchline_cli.verify import verify as check

        raise typer.Exit(check(source, frames, json_output))
    if source is not None or frames:
        raise BadInputError("doctor: a source and --frames need --verify")
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
        Path, typer.Argument(metavar="CSV", callback=local, help="Columns canonical_name,aliases; aliases split by |.")
    ],
) -> None:
    """Add brands and aliases to the known brands, permanently."""
    from touchline_cli.library import brands_import as command

    raise typer.Exit(command(csv))


@brands_app.command("store")
def brands_store(
    csv: Annotated[Path, typer.Argument(metavar="CSV", callback=local, help="A file as for `brands import`.")],
) -> None:
    """Store a list of brands for single runs, and print its name for Dagster's launchpad."""
    from touchline_cli.library import brands_store as command

    raise typer.Exit(command(csv))


def main() -> None:
    """Runs the command line. An error is printed as one message; exit code 2 means that nothing was started."""
    from resources.shell import isolate_environment

    escape_unencodable()
    isolate_environment()
    try:
        app()
    except TouchlineError as error:
        typer.secho(with_program(f"touchline: {error}"), fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if not is_full(error):
            raise
        typer.secho(with_program(f"touchline: {told(error)}"), fg=typer.colors.RED, err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.secho("touchline: interrupted; run the same command again to continue", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
