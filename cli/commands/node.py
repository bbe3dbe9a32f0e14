"""`numerai node`: the life of a prediction node."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..counting import counted
from ..errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_UNPROVEN, NumeraiError, UsageError
from ..factory import Factory
from ..files.places import place
from ..installation import extra_needed
from ..models import MODEL_SUFFIX, Node, Run, RunState
from ..names import plainly
from ..ports import Report
from ..render import FAILED, OK, SKIPPED, Renderer, ago, plain, without_token
from ..usecases.inspect import (
    NodeStatus,
    beside_the_folder,
    cannot_be_used,
    latest_run,
    list_nodes,
    node_status,
    require_provider,
    run_log,
    where_it_is,
)
from ..usecases.resolve import first_steps, resolve_node
from .options import (
    PlaceType,
    agree_to_costs,
    agree_to_plan,
    agrees,
    at_terminal,
    confirm,
    decimal,
    destroy_options,
    dry_run_option,
    output_options,
    show_plan,
    tournament_option,
    whole,
    yes_option,
)

# What `node list` does not need is imported where it is used: it would cost half an `import click` more, and there is a
# budget for it (benchmarks/command_cost.py).
if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from ..models import Deployment
    from ..ports import Provider
    from ..usecases.hosting import Assigned
    from ..usecases.verify import Fact, Verifier
    from ..watching.training import Training

F = TypeVar("F", bound=Callable[..., Any])

LAST_LINES = 20
MODEL_FILE = PlaceType(exists=True, dir_okay=False)
LOG_TYPES = ("cluster", "webhook")
MODEL_HELP = "The model; may be left out when there is only one."
TOURNAMENT_HELP = "8 Classic, 11 Signals, 12 Crypto; only needed where a model name is used twice."


def _choose(ctx: click.Context, option: click.Parameter, value: str | int | None) -> None:
    chosen = ctx.meta.setdefault(__name__, {})
    if ctx.info_name == "deploy" and isinstance(value, str) and value.endswith(MODEL_SUFFIX):
        if not place(value).is_file():
            raise click.BadParameter(
                f"{value} is no file. What ends in {MODEL_SUFFIX} is taken for a model file here, as with --model-file;"
                " anything else for the name of a model that `numerai node list` shows."
            )
        ctx.params["model_file"] = MODEL_FILE.convert(value, option, ctx)
    elif value is not None:
        chosen[option.name] = value


def node_options(function: F) -> F:
    """Add `-m` and `-t`, which may stand before or after the subcommand, as in the official tool or as one types."""
    model = click.option("-m", "--model-name", "--model", expose_value=False, callback=_choose, help=MODEL_HELP)
    tournament = tournament_option(TOURNAMENT_HELP, expose_value=False, callback=_choose)
    return model(tournament(function))


def _chosen() -> tuple[str | None, int | None]:
    """The model and the tournament that the command line names, before the subcommand or after it."""
    chosen = click.get_current_context().meta[__name__]
    return chosen.get("model_name"), chosen.get("tournament")


def _node(factory: Factory) -> Node:
    return resolve_node(factory.store, *_chosen())


def _node_to_deploy(factory: Factory) -> Node:
    """As `_node`; and says of a name that is unknown what else --model takes."""
    try:
        return _node(factory)
    except UsageError as error:
        if error.code == "unknown-node" and error.hint is None:
            error.hint = f"`deploy --model` takes a model's name, or a model file: a file ends in {MODEL_SUFFIX}."
        raise


@click.group()
@node_options
@output_options
def node() -> None:
    """Configure, deploy, test and watch prediction nodes.

    \b
    Examples:
      numerai node -m alice config -e tournament-python3 -p my-node
      numerai node deploy
      numerai node test
      numerai node logs -f
    """


@node.command()
@node_options
@click.option("-P", "--provider", help="Where the node runs (list-constants shows them).  [default: local]")
@click.option("-s", "--size", help="How big it runs (list-constants shows the sizes).  [default: mem-md]")
@click.option("--cpu", type=decimal(), help="vCPUs instead of a size's (256 and more: in 1024ths).")
@click.option("--memory", type=decimal(), help="GiB of memory instead of a size's (256 and more: MiB).")
@click.option("--disk", type=whole(1), metavar="GIB", help="What a run may write, on AWS.  [default: 20 there]")
@click.option("-p", "--path", type=PlaceType(), help="The folder with the node's code.  [default: this folder]")
@click.option(
    "--context", metavar="DIR", help="Build the image from this folder above the node's, for shared code; '' ends that."
)
@click.option("-e", "--example", help="Copy this example into the folder first.")
@click.option("-c", "--cron", help="Run by this schedule (UTC), not by the webhook; '' ends that.")
@click.option("--timeout-minutes", type=whole(), help="Stop a run that takes longer.  [default: 60]")
@click.option(
    "--data-version",
    metavar="V",
    help="Use this version of Numerai's data, e.g. v5.3; or newest; or trained: the one its model was trained on."
    "  [default: trained]",
)
@click.option(
    "--retrain-days",
    type=whole(0, 3650),
    metavar="DAYS",
    help="Train the model again, after a submission, when it is so old. 0 ends that.  [default: never]",
)
@click.option(
    "--pin-base/--no-pin-base",
    default=None,
    help="Build on the digests that the Dockerfile's base images have now, until --pin-base is given again.",
)
@click.option(
    "--capability",
    "capabilities",
    multiple=True,
    metavar="NAME",
    help="Give its containers this Linux capability, e.g. CHOWN; repeatable. '' takes all away.",
)
@click.option("-r", "--register-webhook", is_flag=True, help="Register the webhook even where --cron is given.")
@click.option(
    "-y", "--yes", is_flag=True, help="Do not ask before something costs money, or the node or its webhook moves."
)
@dry_run_option
@output_options
@click.pass_obj
def config(factory: Factory, /, yes: bool, dry_run: bool, **wanted: Any) -> None:
    """Make a node of a model: provision what it needs and register its webhook with Numerai.

    Can be repeated: what is not given stays as it is. With the name of another provider the node is moved there: it
    stays where it is until it is deployed there, too, and is removed then.

    \b
    Examples:
      numerai node -m alice config -e tournament-python3 -p my-node
      numerai node -m alice config -p my-node --dry-run
      numerai node -m alice config -s mem-lg -c "5 12 * * TUE-SAT"
      numerai node -m alice config -P aws
    """
    from ..usecases.configure import Configured, NodeRequest, configure_node
    from ..usecases.move import Mover
    from ..usecases.webhooks import elsewhere_note

    if wanted["provider"]:
        factory.provider(wanted["provider"])  # one that is not there stops the command here
    common: Any = {
        "api": factory.api,
        "store": factory.store,
        "provider_named": factory.provider_recorded,
        "digest_of": factory.engine.digest,
        "report": factory.render.progress,
        "insist": lambda why: _insist(factory, why, yes),
        "take_over": lambda question: confirm(question, yes),
        "dry_run": dry_run,
    }
    done = configure_node(
        NodeRequest(**wanted),
        *_chosen(),
        agree=lambda preview: agree_to_costs(factory.render, preview, yes),
        move=Mover(agree=lambda plan: agree_to_plan(factory.render, plan.describe(), plan.notes, yes), **common).move,
        **common,
    )
    render = factory.render
    if not isinstance(done, Configured):
        show_plan(factory.render, done.describe(), done.notes)
        return
    if done.registered and (note := elsewhere_note(factory.provider_of(done.node))) is not None:
        render.warn(note)

    def show() -> None:
        render.mark(OK, f"{done.node.name} is configured on {done.node.provider}", detail=done.node.path)
        if done.registered and done.node.webhook_url:
            render.mark(OK, "Numerai calls its webhook", detail=without_token(done.node.webhook_url))
        for note in done.notes:
            render.say(note)
        render.say(f"Next: numerai node -m {done.node.name} {'test' if done.deployed else 'deploy'}")

    render.result(done, show)


def _insist(factory: Factory, why: str, yes: bool) -> None:
    """Ask whether to go on with a node that cannot work yet. `--yes` agrees to costs, not to that."""
    from ..usecases.configure import UNASSIGN_PICKLE

    if yes or not at_terminal():
        hint = f"First, {UNASSIGN_PICKLE}. To prepare the node before that, configure it in a terminal without --yes."
        raise NumeraiError(why, hint, code="pickle-assigned")
    factory.render.warn(why)
    confirm("Prepare the node all the same?", False)


@node.command()
@node_options
@click.option("--force", is_flag=True, help="Build even when nothing has changed.")
@click.option(
    "--runtime",
    type=click.Choice(["keep", "replace"]),
    help="Keep an old numerai_node, or replace a modified one.  [default: replace an old, unmodified one]",
)
@click.option("--allow-credentials", is_flag=True, help="Build although credentials would enter the image.")
@click.option(
    "--model-file",
    type=MODEL_FILE,
    help="A file that `numerai train` has made (`--model FILE.model` is the same): put it into the folder, so that the "
    "node predicts with it.",
)
@click.option(
    "--gate",
    type=click.Choice(["refuse", "warn", "off"]),
    default="refuse",
    show_default=True,
    help="What becomes of a model file whose predictions do not look right.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask before Numerai runs the upload (-P hosted).")
@dry_run_option
@output_options
@click.pass_obj
def deploy(
    factory: Factory,
    force: bool,
    runtime: str | None,
    allow_credentials: bool,
    model_file: Path | None,
    gate: str,
    yes: bool,
    dry_run: bool,
) -> int:
    """Build what the node runs from its folder, and put it in place.

    On the provider hosted: pack and rehearse it, upload it, wait for Numerai's validation, and ask before Numerai runs
    it from now on. Ends with 1 where Numerai does not run it then.

    An unmodified numerai_node of an earlier version in the folder is replaced first; the old one is kept.

    \b
    Examples:
      numerai node deploy
      numerai node -m alice deploy --dry-run
      numerai node -m alice deploy --model-file alice.model
    """
    from ..usecases.deploy import check_deploy, deploy_node, half_moved_note, how_it_runs, plan_deploy, runtime_note
    from ..usecases.hosting import assign_upload
    from ..usecases.runtime import RuntimeChoice

    chosen, named = _node_to_deploy(factory), factory.provider_recorded
    provider, choice = named(chosen.provider), RuntimeChoice(runtime) if runtime else None
    warned: list[str] = []

    def warn(text: str) -> None:
        warned.append(text)
        if not dry_run:  # whose plan has them
            factory.render.warn(text)

    refused: Any = {"force": force or model_file is not None, "runtime": choice, "allow_credentials": allow_credentials}
    if (half := half_moved_note(chosen, named)) is not None:
        warn(half)
    if model_file is not None:  # which is put into the folder, so that a refusal must come before
        check_deploy(chosen, provider, factory.store, **refused)
    ships = [] if model_file is None else [_ship(factory, chosen, provider, model_file, gate, warn, dry_run=dry_run)]
    if dry_run:
        steps = [*ships, *plan_deploy(chosen, provider, factory.store, **refused)]
        notes = (*warned, how_it_runs(chosen, provider).why, runtime_note(chosen, choice))
        show_plan(factory.render, steps, [note for note in notes if note])
        return 0
    say = factory.render.progress
    done = deploy_node(chosen, provider, factory.store, say, warn=warn, **{**refused, "force": force})
    assigned = assign_upload(chosen, done, named, lambda: factory.api, lambda question: agrees(question, yes), say)
    told = {**plain(done), "warnings": warned}
    if assigned is not None:
        factory.render.result({**told, "assigned": assigned.done}, lambda: _show_assigned(factory, done, assigned))
        return 0 if assigned.done else EXIT_FAILED
    factory.render.result(told, lambda: _show_deployed(factory, done))
    return 0


def _show_deployed(factory: Factory, done: Deployment) -> None:
    what = "is deployed" if done.changed else "is deployed already: nothing has changed"
    factory.render.mark(OK, f"{done.node} {what}", detail=done.image)
    factory.render.say(f"Next: numerai node -m {done.node} test")


def _show_assigned(factory: Factory, done: Deployment, assigned: Assigned) -> None:
    factory.render.mark(OK if assigned.done else SKIPPED, f"{done.node} {assigned.what}", detail=done.image)
    factory.render.say(assigned.note)


def _live_data(factory: Factory, tournament: int, version: str) -> Path:
    """The folder of a version's data, with today's live rows in it."""
    from ..usecases.data import download
    from .data import hearing

    watch = partial(hearing, factory)
    download(factory.data_files, tournament, ["live"], version=version, folder=None, watch=watch)
    return factory.data_files.folder(tournament, version)


def _ship(
    factory: Factory, chosen: Node, provider: Provider, model: Path, gate: str, warn: Report, *, dry_run: bool
) -> str:
    """Look at a model and put it into the node's folder; what that is, in words."""
    from ..usecases.ship import check_model, how_to_read, plan_model, put_model

    with extra_needed("models"):
        check_model(model, chosen, partial(_live_data, factory), gate, warn, how_to_read(chosen, provider))
        if not dry_run:
            with factory.store.node_lock(chosen.name):
                put_model(model, chosen, factory.store.home, factory.render.progress)
    return plan_model(model, chosen)


@node.command()
@node_options
@click.argument("tag", required=False)
@dry_run_option
@output_options
@click.pass_obj
def rollback(factory: Factory, tag: str | None, dry_run: bool) -> None:
    """Let an image run again that was deployed earlier: that of TAG, or the one before the present one."""
    from ..usecases.deploy import choose_earlier, roll_back

    chosen = _node(factory)
    provider = require_provider(chosen, factory.provider_of(chosen))
    tag = choose_earlier(chosen, provider, factory.store.home, tag)
    if dry_run:
        show_plan(factory.render, [f"let {tag} run again in place of what is deployed"])
        return
    done = roll_back(chosen, provider, factory.store, tag)
    factory.render.result(done, lambda: factory.render.mark(OK, f"{chosen.name} runs {tag} again", detail=done.image))


@node.command()
@node_options
@click.option("-l", "--local", is_flag=True, help="Run the container here and now, without the webhook.")
@click.option("-c", "--command", default="", help="With --local: run this instead of the Dockerfile's command.")
@click.option("--no-submit", is_flag=True, help="Prove everything but the submission, and submit nothing.")
@output_options
@click.pass_obj
def test(factory: Factory, local: bool, command: str, no_submit: bool) -> int:
    """Prove the node end to end, as Numerai uses it. This submits to the live model, unless --no-submit is given.

    Four facts must hold: Numerai reaches the webhook, the trigger starts a container, the container runs to its end,
    and Numerai accepts the submission. With --verbose the container's log is shown as it is printed.

    Ends with 0 when all is proven, 1 when something failed, and 4 when nothing failed but no round is open, so that it
    cannot be proven now that a submission is on time.

    \b
    Examples:
      numerai node test
      numerai node test --no-submit
      numerai node test --local
    """
    chosen = _node(factory)
    if command and not local:
        raise UsageError("--command only goes with --local.")
    factory.render.say(_what_it_does(chosen, local, no_submit))
    if local:
        return _test_locally(factory, chosen, command, no_submit)
    return _test(factory, chosen, no_submit)


def _what_it_does(chosen: Node, local: bool, no_submit: bool) -> str:
    if local:
        submits = "submits nothing" if no_submit else f"submits to the live model {chosen.model_name}"
        return f"This runs the folder {chosen.path} here and now and {submits}. Webhook and deploy are not tested."
    if no_submit:
        return f"Nothing is submitted to {chosen.model_name}: everything else is proven."
    return f"This submits to the live model {chosen.model_name} (--no-submit proves everything but that)."


def _test(factory: Factory, chosen: Node, no_submit: bool) -> int:
    from ..usecases.verify import Verdict, Verifier

    render = factory.render
    verifier = Verifier(
        chosen,
        factory.provider_recorded,
        factory.api,
        factory.clock,
        on_fact=lambda fact: _show_fact(render, fact),
        on_log=lambda line: render.detail(f"    | {line.text}"),
        report=render.progress,
        submits=not no_submit,
        on_warning=render.warn,
    )
    try:
        verification = verifier.verify()
    except KeyboardInterrupt:
        raise _interrupted(chosen, verifier) from None
    words, style, exit_code = {
        Verdict.WORKS: ("works" + (", as far as that can be proven without a submission" if no_submit else ""),
                        "bold green", 0),
        Verdict.UNPROVEN: ("works as far as that can be proven now: test it again while a round is open",
                           "bold yellow", EXIT_UNPROVEN),
        Verdict.FAILS: ("does not work yet", "bold red", EXIT_FAILED),
    }[verification.verdict]  # fmt: skip
    render.result(verification, lambda: render.say(f"{verification.node} {words}.", style))
    return exit_code


def _interrupted(chosen: Node, verifier: Verifier) -> NumeraiError:
    """What to do about the run that an interrupted test leaves, which goes on without it."""
    command = f"numerai node -m {chosen.name}"
    hint: str | None = None
    try:
        run = verifier.going_on()
        message = "Interrupted: no run goes on."
    except NumeraiError as error:
        run, hint = None, f"`{command} status` shows it."
        message = f"Interrupted, and whether a run goes on is not known: {error.message}"
    if run is not None:
        message = f"Interrupted. Run {run.id} goes on: it is {run.state.value}."
        hint = f"Follow it with `{command} logs -f --run {run.id}`, or stop it with `{command} cancel {run.id}`."
    return NumeraiError(message, hint, code="interrupted", exit_code=EXIT_INTERRUPTED)


def _test_locally(factory: Factory, chosen: Node, command: str, no_submit: bool) -> int:
    from ..usecases.withholding import check_withholds

    render = factory.render
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--command {command} cannot be read: {error}.") from error
    if no_submit:
        check_withholds(chosen)
    run = factory.rehearsal.rehearse(
        chosen,
        words,
        report=render.progress,
        on_log=lambda line: render.progress(f"| {line.text}"),
        submits=not no_submit,
    )
    good = run.state is RunState.SUCCEEDED
    warnings = beside_the_folder(chosen, factory.provider_of)

    def show() -> None:
        render.mark(OK if good else FAILED, f"the run of {chosen.name} {_ended(run)}", detail=run.message)

    render.result({**plain(run), "warnings": warnings}, show)
    for warning in warnings:
        render.warn(warning)
    return 0 if good else 1


def _show_fact(render: Renderer, fact: Fact) -> None:
    status = SKIPPED if fact.holds is None else OK if fact.holds else FAILED
    detail = "\n".join(part for part in (fact.detail, fact.cause) if part)
    render.mark(status, f"{fact.name}  {fact.seconds:.1f} s", detail=detail, mend=fact.mend)


@node.command()
@node_options
@output_options
@click.pass_obj
def trigger(factory: Factory) -> None:
    """Start one run by hand, without Numerai.

    \b
    Example:
      numerai node -m alice trigger
    """
    chosen = _node(factory)
    provider = factory.provider_of(chosen)
    provider.wake(factory.render.progress)
    run = provider.trigger(chosen)
    factory.render.result(run, lambda: factory.render.mark(OK, f"run {run.id} of {chosen.name} is {run.state.value}"))


def _log_options(function: F) -> F:
    number = click.option(
        "-n", "--num-lines", type=whole(1, 1_000_000), help=f"How many of the last lines.  [default: {LAST_LINES}]"
    )
    follow = click.option("-f", "--follow-tail", is_flag=True, help="Go on until the run has ended.")
    kind = click.option(
        "-l",
        "--log-type",
        type=click.Choice(LOG_TYPES),
        help=f"What the container printed, or the calls of the webhook.  [default: {LOG_TYPES[0]}]",
    )
    return number(follow(kind(function)))


@node.command()
@node_options
@_log_options
@output_options
@click.pass_obj
def status(factory: Factory, num_lines: int | None, follow_tail: bool, log_type: str | None) -> int:
    """Show how the node stands; with -n, -f or -l its log, like `numerai node logs`.

    \b
    Example:
      numerai node -m alice status
    """
    chosen = _node(factory)
    if num_lines or follow_tail or log_type:
        return _show_log(factory, chosen, num_lines, follow_tail, log_type, None)
    state = node_status(chosen, factory.provider_of(chosen))
    factory.render.result(state, lambda: _show_status(factory, state))
    return 0


@node.command()
@node_options
@_log_options
@click.option("--run", "run_id", help="The run, instead of the latest one.")
@output_options
@click.pass_obj
def logs(factory: Factory, num_lines: int | None, follow_tail: bool, log_type: str | None, run_id: str | None) -> int:
    """Show what the latest run printed, and why it failed if it did.

    With --json, a JSON object a line; the last one of a run that failed has its `message`.

    \b
    Examples:
      numerai node logs -n 100
      numerai node logs -f
    """
    return _show_log(factory, _node(factory), num_lines, follow_tail, log_type, run_id)


def _show_log(
    factory: Factory, chosen: Node, num_lines: int | None, follow: bool, log_type: str | None, run_id: str | None
) -> int:
    """Ends with 130, and without a word, when following is interrupted: that is how one stops it."""
    try:
        _print_log(factory, chosen, num_lines or LAST_LINES, follow, log_type or LOG_TYPES[0], run_id)
    except KeyboardInterrupt:
        if not follow:
            raise
        return EXIT_INTERRUPTED
    return 0


def _print_log(factory: Factory, chosen: Node, num_lines: int, follow: bool, log_type: str, run_id: str | None) -> None:
    render, provider = factory.render, require_provider(chosen, factory.provider_of(chosen))
    if log_type == "webhook":
        calls = list(reversed(provider.webhook_calls(chosen.name, num_lines)))
        render.result(calls, lambda: _show_calls(render, calls))
        return
    run, lines = run_log(chosen, provider, run_id=run_id, last=num_lines, follow=follow)
    if run is None:
        render.say(f"{chosen.name} has not run yet.")
        return
    if not render.json:
        render.progress(f"run {run.id}, {_ended(run)}")
    for line in lines:
        render.log_line(line)
    _show_reason(render, run if run.state.final else provider.run(run.id))


def _show_reason(render: Renderer, run: Run) -> None:
    """Why a run failed: one that never started has printed nothing."""
    if run.state is RunState.FAILED and run.message:
        if render.json:
            render.line(
                {"run": run.id, "state": run.state, "exit_code": run.exit_code, "failure": run.failure,
                 "message": run.message}
            )  # fmt: skip
        else:
            render.mark(FAILED, f"run {run.id} failed: {run.message}")


def _show_calls(render: Renderer, calls: list[Any]) -> None:
    rows = [(f"{call.time:%Y-%m-%d %H:%M:%S}", str(call.status), call.trigger_id or "-", call.answer) for call in calls]
    render.table(("time (UTC)", "status", "trigger id", "answer"), rows)


def _starts(node: Node, provider: Provider) -> list[tuple[str, str]]:
    """What starts a node, and on which data."""
    from ..ports import RunByNumerai

    if isinstance(provider, RunByNumerai):
        return [
            ("started by", "Numerai"),
            ("data", node.data_version or "that of its model file, else Numerai's default"),
        ]
    return [
        ("started by", f"cron '{node.cron}' (UTC)" if node.cron else "webhook"),
        ("webhook", without_token(node.webhook_url) if node.webhook_url else "none"),
        ("data", node.data_version or "the version its model was trained on"),
    ]


def _when(deployed: Deployment | None, now: datetime) -> str:
    """When and what was deployed. Numerai does not tell when it was given an upload that is not of this home."""
    if deployed is None:
        return "no"
    return f"{ago(deployed.deployed_at, now) if deployed.source_hash else 'elsewhere'}, {deployed.image}"


def _show_status(factory: Factory, state: NodeStatus) -> None:
    render, now, node = factory.render, factory.clock.now(), state.node
    deployed = state.deployment
    rows = [
        ("node", f"{node.name} (model {node.model_name}, tournament {node.tournament})"),
        (
            "runs on",
            f"{where_it_is(node)}, {node.cpu:g} vCPU, {node.memory_mib / 1024:g} GiB, {node.timeout_minutes} min",
        ),
        ("folder", node.path),
        *([("built from", node.context)] if node.context else []),
        *[("pinned", f"{name}@{digest}") for name, digest in (node.base_digests or {}).items()],
        *([("capabilities", ", ".join(node.capabilities))] if node.capabilities else []),
        ("deployed", _when(deployed, now) if state.not_here is None else f"cannot be seen from here: {state.not_here}"),
        *_starts(node, factory.provider_of(node)),
    ]
    if node.retrain_days is not None:
        rows.append(("trained", _trained(state.training, node.retrain_days, now)))
    if state.moved:
        rows.append(("moved", "it is served at another address now than Numerai was given: numerai doctor --fix"))
    if state.changed_since_deploy:
        rows.append(("changed", f"the folder has changed since: numerai node -m {node.name} deploy"))
    rows += [("gate", f"run {state.runs[0].id}: {finding}") for finding in state.findings]
    render.table(("", ""), rows)
    if state.runs:
        columns = ("run", "state", "started", "trigger id", "what happened")
        render.table(
            columns,
            [(r.id, r.state.value, ago(r.created_at, now), r.trigger_id or "-", r.message or "") for r in state.runs],
        )
    elif state.not_here is None:
        render.say("It has not run yet.")


def _trained(training: Training | None, days: int, now: datetime) -> str:
    age = "not known yet" if training is None or training.trained_at is None else ago(training.trained_at, now)
    words = f"{age}, again when it is {counted(days, 'day')} old"
    if training is None or training.failed_at is None:
        return words
    return f"{words}; trying that has failed since {training.failed_at:%Y-%m-%d %H:%M} UTC: {training.why}"


def _ended(run: Run) -> str:
    if run.exit_code is not None:
        return f"{run.state.value} with exit code {run.exit_code}"
    return run.state.value


@node.command()
@node_options
@click.argument("run_id", required=False)
@output_options
@click.pass_obj
def cancel(factory: Factory, run_id: str | None) -> None:
    """Stop a run, by default the node's latest."""
    chosen = _node(factory)
    provider = require_provider(chosen, factory.provider_of(chosen))
    if run_id is None:
        latest = latest_run(chosen, provider)
        if latest is None:
            raise NumeraiError(f"{chosen.name} has not run yet: there is nothing to cancel.")
        run_id = latest.id
    run = provider.cancel(run_id)
    factory.render.result(run, lambda: factory.render.mark(OK, f"run {run.id} is {run.state.value}"))


@node.command()
@node_options
@destroy_options
@output_options
@click.pass_obj
def destroy(factory: Factory, preserve_node_config: bool, force: bool, yes: bool, dry_run: bool) -> None:
    """Take the node out of service and remove everything its provider holds. Your folder stays."""
    from ..usecases.destroy import destroy_node

    chosen = _node(factory)
    destroying = partial(
        destroy_node,
        chosen,
        api=lambda: factory.api,
        store=factory.store,
        provider_named=factory.provider_recorded,
        report=factory.render.progress,
        warn=factory.render.warn,
        force=force,
        keep_config=preserve_node_config,
    )
    plan = destroying(dry_run=True)
    if dry_run:
        show_plan(factory.render, plan.describe(), plan.notes)
        return
    if not yes:
        for line in (*(f"- {step}" for step in plan.describe()), *plan.notes):
            factory.render.progress(line)
    confirm(f"Destroy {chosen.name} on {where_it_is(chosen)}?", yes)
    destroying()
    factory.render.result({"destroyed": chosen.name}, lambda: factory.render.mark(OK, f"{chosen.name} is gone"))


@node.command()
@click.argument("name")
@yes_option
@dry_run_option
@output_options
@click.pass_obj
def forget(factory: Factory, name: str, yes: bool, dry_run: bool) -> None:
    """Remove the record of a node that cannot be used: NAME as `node list` and `doctor` show it.

    Nothing else is touched: what a provider holds of it stays there. To take a node out of service use `destroy`.
    """
    from ..usecases.forget import forget_node

    forget_node(factory.store, name, lambda question: confirm(question, yes), dry_run=dry_run)
    if dry_run:
        show_plan(factory.render, [f"remove the record of {plainly(name)}, and nothing else"])
        return
    factory.render.result({"forgotten": name}, lambda: factory.render.mark(OK, f"{plainly(name)} is forgotten"))


@node.command(name="list")
@output_options
@click.pass_obj
def list_(factory: Factory) -> None:
    """List the configured nodes."""
    nodes = list_nodes(factory.store)
    for why in cannot_be_used(factory.store).values():
        factory.render.warn(why)

    def show() -> None:
        if not nodes:
            factory.render.say(f"No node is configured. Next: {first_steps(factory.store)}")
            return
        rows = [
            (n.name, where_it_is(n), f"{n.cpu:g} vCPU, {n.memory_mib / 1024:g} GiB", n.cron or "webhook", n.path)
            for n in nodes
        ]
        factory.render.table(("node", "provider", "size", "started by", "folder"), rows)

    factory.render.result(nodes, show)
