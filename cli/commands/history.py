"""`numerai history`: per round, what was triggered, run and submitted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from ..errors import UsageError
from ..factory import Factory
from ..files.places import place
from ..models import Node
from ..render import OK
from ..usecases.history import History, RoundReader, RoundRecord, RunRecord, Standing, read_history
from ..usecases.resolve import first_steps, resolve_node, select_nodes
from .options import PlaceType, output_options, tournament_option, whole

MOST_ROUNDS = 100


@click.command()
@click.option("-m", "--model-name", "--model", help="Only this model's nodes.  [default: all]")
@tournament_option("Only this tournament: 8 Classic, 11 Signals, 12 Crypto.")
@click.option("-n", "--rounds", type=whole(1, MOST_ROUNDS), default=10, show_default=True, help="How many.")
@click.option(
    "--csv",
    "run_id",
    metavar="RUN_ID",
    help="Write the CSV that this run has sent to a file instead; its id may be cut short.",
)
@click.option(
    "--output", "-o", type=PlaceType(dir_okay=False), help="With --csv: the file.  [default: RUN_ID.csv in this folder]"
)
@click.option("--force", is_flag=True, help="With --csv: replace a file that is there.")
@output_options
@click.pass_obj
def history(
    factory: Factory,
    model_name: str | None,
    tournament: int | None,
    rounds: int,
    run_id: str | None,
    output: Path | None,
    force: bool,
) -> None:
    """Show per round what was triggered, run and submitted.

    Times are Numerai's, in UTC. What could not be asked, Numerai or a provider, is said first: the rest may be
    incomplete then.

    \b
    Examples:
      numerai history -m alice -n 3
      numerai history --csv 3f6c0a1be2d4 -o sent.csv
    """
    nodes = select_nodes(factory.store.nodes(), model_name, tournament)
    if not nodes and (model_name or tournament):
        resolve_node(factory.store, model_name, tournament)  # says what there is
    if run_id is not None:
        _write_sent(factory, nodes, run_id, output, force=force)
        return
    if output is not None or force:
        raise UsageError(f"--{'force' if force else 'output'} only goes with --csv.")
    result = read_history(nodes, reader_of(factory), rounds)
    factory.render.result(result, lambda: _show(factory, result, configured=bool(nodes)))


def _write_sent(factory: Factory, nodes: Sequence[Node], run_id: str, output: Path | None, *, force: bool) -> None:
    from ..usecases.sent import sent_csv, write_output

    node, run_id, content = sent_csv(nodes, run_id, factory.provider_recorded)
    path = output or place(f"{run_id}.csv")
    write_output(content, path, "Give another file with --output.", replaces=force)
    factory.render.result(
        {"node": node.name, "run": run_id, "csv": path},
        lambda: factory.render.mark(OK, f"{path} is what run {run_id} of {node.name} has sent"),
    )


def reader_of(factory: Factory) -> RoundReader:
    """What asks Numerai, the providers and the watcher's memory."""
    return RoundReader(
        api=lambda: factory.api, provider_named=factory.provider_recorded, ledger=factory.ledger, clock=factory.clock
    )


def _show(factory: Factory, result: History, *, configured: bool) -> None:
    render = factory.render
    for problem in result.problems:
        render.warn(problem)
    if not configured:
        render.say(f"No node is configured. Next: {first_steps(factory.store)}")
    elif not result.rounds:
        render.say("No round is known yet.")
    names = dict.fromkeys(record.node for record in result.rounds)
    for number, name in enumerate(names):
        if number:
            render.say("")
        rows = [row for record in result.rounds if record.node == name for row in _rows(record)]
        render.table(("round", "opened", "trigger", "run", "submission", "result"), rows, title=name)


def _rows(record: RoundRecord) -> list[tuple[str, ...]]:
    """One line a run; the first one also says what holds for the round."""
    first = (str(record.round_number), f"{record.opened:%Y-%m-%d %H:%M}")
    last = (_submission(record), _result(record))
    runs = [(_triggered(run, record), _ran(run, record)) for run in record.runs] or [("-", "-")]
    blank = ("", "")
    return [
        (*(first if number == 0 else blank), *run, *(last if number == 0 else blank)) for number, run in enumerate(runs)
    ]


def _triggered(run: RunRecord, record: RoundRecord) -> str:
    who = {"numerai": "Numerai", "by-hand": "by hand"}.get(run.trigger.value, run.trigger.value)
    why = f": {run.why}" if run.why else ""
    return f"{_time(run.triggered_at, record)} {who}{why}"


def _ran(run: RunRecord, record: RoundRecord) -> str:
    if run.id is None:
        return f"not started: {run.message}" if run.message else "not started yet"
    words = [run.id, run.state or "unknown"]
    if run.ended_at is not None:
        words.append(_time(run.ended_at, record))
    if run.attempts > 1:
        words.append(f"{run.attempts} tries")
    why = run.message or (f"exit code {run.exit_code}" if run.exit_code else "")
    return f"{' '.join(words)}: {why}" if why and run.state != "succeeded" else " ".join(words)


def _submission(record: RoundRecord) -> str:
    file = record.submission
    if file is None:
        return "-"
    moment = f"{_time(file.inserted_at, record)} " if file.inserted_at is not None else ""
    return f"{moment}{file.id}{' (earlier file)' if record.covered else ''}"


def words_of(standing: Standing) -> str:
    """A standing as a person says it."""
    words = {"covered": "covered by an earlier file", "late": "late and queued"}
    return words.get(standing.value, standing.value.replace("-", " "))


def _result(record: RoundRecord) -> str:
    told = [kind.value for kind in record.told]
    words = words_of(record.standing)
    return f"{words} (told: {', '.join(told)})" if told else words


def _time(moment: datetime, record: RoundRecord) -> str:
    same_day = moment.date() == record.opened.date()
    return f"{moment:%H:%M:%S}" if same_day else f"{moment:%Y-%m-%d %H:%M:%S}"
