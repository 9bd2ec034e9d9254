"""`kubectl vllm bench`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vllm_operator.cli.exits import FAILED, INTERRUPTED, CliError
from vllm_operator.cli.options import ClusterOptions, Duration, cluster_options, output_option
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli.servers import name_argument

if TYPE_CHECKING:
    from vllm_operator.benchmark.comparison import Difference
    from vllm_operator.benchmark.generator import Workload
    from vllm_operator.benchmark.report import Report

FORMATS = ("html", "png", "json", "csv")


@dataclass(frozen=True)
class BenchSettings:
    """The options about the load and the report."""

    loads: tuple[str, ...]
    duration: float
    requests: int
    prompt_words: int
    shared_words: int
    output_tokens: int
    turns: int
    seed: int
    timeout: float
    model: str | None
    generator: str
    tokenizer: str | None


@click.command()
@name_argument(required=False)
@cluster_options()
@click.option("--url", metavar="URL", help="Measure the server at this URL instead; its key comes from VLLM_API_KEY.")
@click.option(
    "--load",
    "loads",
    multiple=True,
    metavar="KIND=LEVEL",
    default=["concurrent=8"],
    show_default=True,
    help="concurrent=8 (requests at once), constant=2.5 or poisson=2.5 (requests a second), turns=4 (conversations at "
    "once), sweep=1,2,4,8 (one stage each). Repeat it for several stages.",
)
@click.option("--duration", type=Duration(), default="30s", show_default=True, help="Length of each stage.")
@click.option(
    "--requests", type=click.IntRange(0, 1_000_000), default=0, help="Requests of a stage at most. [default: no bound]"
)
@click.option(
    "--prompt-words",
    type=click.IntRange(1, 100_000),
    default=256,
    show_default=True,
    help="Length of a prompt in words, about its tokens.",
)
@click.option(
    "--shared-words",
    type=click.IntRange(0, 100_000),
    default=0,
    show_default=True,
    help="Words at the beginning that all prompts share.",
)
@click.option(
    "--output-tokens", type=click.IntRange(1, 100_000), default=128, show_default=True, help="Tokens of each answer."
)
@click.option(
    "--turns-each",
    "turns",
    type=click.IntRange(1, 100),
    default=4,
    show_default=True,
    help="Turns of each conversation of the load turns.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of prompts and arrivals.")
@click.option("--timeout", type=Duration(), default="5m", show_default=True, help="Longest time for an answer.")
@click.option("--model", metavar="NAME", help="Served model. [default: the first one that the server lists]")
@click.option(
    "--generator",
    type=click.Choice(["built-in", "guidellm"]),
    default="built-in",
    show_default=True,
    help="Program that sends the load; guidellm must be installed.",
)
@click.option("--tokenizer", metavar="NAME", help="Tokenizer for guidellm: a name of the hub, or a folder.")
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the report. [default: print the figures only]",
)
@click.option(
    "--format",
    "formats",
    type=click.Choice(FORMATS),
    multiple=True,
    default=FORMATS,
    show_default=True,
    help="Files of the report.",
)
@click.option(
    "--compare",
    nargs=2,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="BEFORE AFTER",
    help="Compare two report.json instead of measuring; the exit code is 1 when a figure is worse.",
)
@output_option("json", "yaml")
@click.pass_context
def command(
    context: click.Context,
    /,
    name: str | None,
    cluster: ClusterOptions,
    url: str | None,
    output_dir: Path | None,
    formats: tuple[str, ...],
    compare: tuple[Path, Path] | None,
    output: str | None,
    **options: Any,
) -> None:
    """Measure a server under load: latency, time to the first token and per token, throughput, queue.

    While the load runs, the engines, the replicas and the autoscaler are read once a second, and drawn over the same
    seconds. The report has an HTML page, a PNG, JSON and CSV. The load is real: it takes capacity from other clients.
    Ctrl-C ends it early; what was measured until then is printed and written.
    """
    if compare:
        if _print_comparison(*compare, output):
            context.exit(FAILED)
        return
    settings = BenchSettings(**options)
    workload = _workload(settings)
    if (name is None) == (url is None):
        raise click.UsageError("name a server of the cluster, or give --url")
    if output_dir is not None:
        from vllm_operator.cli.measuring import check_formats

        check_formats(formats)
    report = _measured(name, url, cluster, settings, workload)
    _print_figures(report, output)
    if output_dir is not None:
        from vllm_operator.cli.measuring import write_report

        for path in write_report(report, output_dir, formats):
            click.echo(f"wrote {path}", err=True)
    if "interrupted" in report.about:
        context.exit(INTERRUPTED)
    if not any(figures.requests > figures.failed for figures in report.figures):
        raise CliError("no request was answered", FAILED)


def _workload(settings: BenchSettings) -> Workload:
    from vllm_operator.benchmark.generator import Workload
    from vllm_operator.benchmark.shapes import MOST_STAGES, ShapeError, parse_load

    try:
        stages = tuple(stage for load in settings.loads for stage in parse_load(load))
    except ShapeError as error:
        raise click.UsageError(f"--load {clean(error, 300)}") from error
    if len(stages) > MOST_STAGES:
        raise click.UsageError(f"--load: {len(stages)} stages are more than {MOST_STAGES}")
    return Workload(stages, settings.duration, settings.requests, settings.output_tokens, settings.turns, settings.seed)


def _measured(
    name: str | None, url: str | None, cluster: ClusterOptions, settings: BenchSettings, workload: Workload
) -> Report:
    from vllm_operator.benchmark.prompts import Prompts
    from vllm_operator.cli.measured_server import by_url, in_cluster
    from vllm_operator.cli.measuring import BenchRequests, measure

    if name is not None:
        from vllm_operator.cli.cluster import Cluster

        opened = in_cluster(Cluster(cluster), name)
    else:
        opened = by_url(str(url))
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with opened as place:
        if settings.generator == "guidellm":
            report = _with_guidellm(place, settings, workload)
        else:
            prompts = Prompts(settings.prompt_words, settings.shared_words, settings.seed)
            report = measure(place, workload, BenchRequests(prompts, settings.timeout, settings.model))
    return _described(report, settings, started)


def _described(report: Report, settings: BenchSettings, started: str) -> Report:
    from dataclasses import replace

    from vllm_operator.benchmark.figures import turn_notes

    about = {
        **report.about,
        "started": started,
        "loads": list(settings.loads),
        "seconds_per_stage": settings.duration,
        "prompt_words": settings.prompt_words,
        "shared_words": settings.shared_words,
        "output_tokens": settings.output_tokens,
        "seed": settings.seed,
    }
    return replace(report, about=about, notes=(*report.notes, *turn_notes(report.requests)))


def _with_guidellm(place: Any, settings: BenchSettings, workload: Workload) -> Report:
    import time

    from vllm_operator.benchmark import guidellm
    from vllm_operator.benchmark.report import Report
    from vllm_operator.benchmark.sampling import Sampler
    from vllm_operator.benchmark.shapes import ShapeError
    from vllm_operator.cli import console

    program = guidellm.installed()
    if program is None:
        raise CliError("guidellm is not installed: pip install 'guidellm>=0.8', or leave --generator out", FAILED)
    if settings.tokenizer is None:
        raise click.UsageError("--generator guidellm needs --tokenizer: the model's name on the hub, or a folder")
    if place.key:
        raise CliError(
            "the server needs an API key, which guidellm takes only on its command line, where others can "
            "read it: use the built-in generator",
            FAILED,
        )
    begin = time.monotonic()
    with (
        console.progress(f"measuring {place.name} with guidellm"),
        Sampler(place.read, lambda: time.monotonic() - begin) as sampler,
    ):
        try:
            with place.whole_url() as url:
                requests = guidellm.run(program, url, settings.tokenizer, workload, settings.prompt_words)
        except (guidellm.GuideLLMError, ShapeError) as error:
            raise CliError(clean(error, 800), FAILED) from error
    notes = (*place.notes(), "the samples begin with GuideLLM's start, some seconds before its first request")
    about = {"server": place.name, "model": settings.model or "unknown", "version": "unknown", "generator": "guidellm"}
    return Report(about, requests, sampler.samples, notes)


def _print_figures(report: Report, output: str | None) -> None:
    from vllm_operator.benchmark.report import summary, table
    from vllm_operator.cli.output import print_data

    if output:
        print_data(summary(report), output)
        return
    _print_cells(table(report))
    for figures in report.figures:
        for text, count in figures.errors.items():
            click.echo(f"{figures.stage}: {count} requests failed: {clean(text, 300)}", err=True)
    for note in report.notes:
        click.echo(f"note: {clean(note, 300)}", err=True)


def _print_cells(rows: list[list[str]]) -> None:
    """Print a table; where a terminal is too narrow for it, with a row for each figure and a column for each load."""
    from rich.table import Table

    from vllm_operator.cli import console

    screen = console.out()
    if sum(max(map(len, column)) + 2 for column in zip(*rows, strict=True)) > screen.width:
        rows = [list(row) for row in zip(*rows, strict=True)]
    head, *body = rows
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for number, cell in enumerate(head):
        shown.add_column(cell, justify="left" if number == 0 else "right", no_wrap=True)
    for row in body:
        shown.add_row(*row)
    screen.print(shown)


def _print_comparison(before: Path, after: Path, output: str | None) -> bool:
    """Print the differences; return whether one is worse."""
    from vllm_operator.benchmark.comparison import compare

    found, notes = compare(_read(before), _read(after))
    if output:
        from dataclasses import asdict

        from vllm_operator.cli.output import print_data

        print_data({"differences": [asdict(one) for one in found], "notes": notes}, output)
    else:
        _print_differences(found)
    for note in notes:
        click.echo(f"note: {clean(note, 300)}", err=True)
    if not found:
        raise CliError("the two measurements have no load in common", FAILED)
    return any(one.verdict == "worse" for one in found)


def _print_differences(found: Sequence[Difference]) -> None:
    from rich.table import Table

    from vllm_operator.cli import console

    shown = Table(box=None, header_style="bold", pad_edge=False)
    for cell in ("Load", "Figure", "Before", "After", "Change", "Verdict"):
        shown.add_column(cell, justify="left" if cell in {"Load", "Figure", "Verdict"} else "right", no_wrap=True)
    for one in found:
        change = "-" if one.change is None else f"{one.change:+.1%}"
        shown.add_row(clean(one.stage, 60), one.figure, f"{one.before:.4g}", f"{one.after:.4g}", change, one.verdict)
    console.out().print(shown)


def _read(path: Path) -> Report:
    from vllm_operator.benchmark.report import LARGEST_REPORT, ReportError, from_json

    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return from_json(file.read(LARGEST_REPORT + 1))
    except (OSError, ReportError) as error:
        raise CliError(f"{path}: {clean(error, 300)}", FAILED) from error
