"""Builds what a node runs and puts it in place, or puts an earlier one back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from ..build_inputs import declared_keys
from ..counting import counted
from ..credentials import credentials_in
from ..dockerignore import ignore_file, special_files
from ..errors import NumeraiError, UsageError
from ..models import Deployment, Node
from ..names import shown
from ..ports import (
    ChecksDeploys,
    HowItRuns,
    Provider,
    Report,
    RollsBack,
    RunByNumerai,
    RunsInWays,
    StateStore,
)
from ..source import Source, check_source, dockerfile_text, heavy_part, source_of
from .hosting import needs_dockerfile
from .inspect import finish_move, half_moved, require_provider
from .recorded_secrets import recorded_secrets
from .runtime import (
    RUNTIME,
    RuntimeChoice,
    RuntimeCopy,
    RuntimeState,
    backup_folder,
    finish_interrupted,
    own_version,
    replace_runtime,
    runtime_copy,
)

LISTED = 10


def deploy_node(
    node: Node,
    provider: Provider,
    store: StateStore,
    report: Report,
    *,
    warn: Report | None = None,
    force: bool,
    runtime: RuntimeChoice | None = None,
    allow_credentials: bool = False,
) -> Deployment:
    """Build and put in place. Nothing is built when nothing has changed, unless forced; a failed build leaves what is
    deployed as it was. One command at a time changes a node. `warn` (else `report`) is told before a node runs
    in a new way.

    An unmodified old copy of the runtime in the node's folder is replaced first; `runtime` keeps it, or replaces a
    modified one too. `UsageError` with code `credentials-in-image` where credentials would enter the image, unless
    `allow_credentials`."""
    source = source_of(node)
    check_deploy(node, provider, store, force=force, runtime=runtime, allow_credentials=allow_credentials)
    if special := sorted(special_files(source.context, source.folder)):
        report(f"No part of the node, because neither a file nor a link: {', '.join(map(shown, special))}")
    if heavy := heavy_part(source):
        (warn or report)(heavy)
    with store.node_lock(node.name):
        return deploy_locked(node, provider, store, report, warn=warn, force=force, runtime=runtime)


def half_moved_note(node: Node, provider_named: Callable[[str], Provider]) -> str | None:
    """On which side of a node that is between two providers a deploy is; None where it is on one."""
    if node.also_on is None:
        return None
    return f"{half_moved(node)} This deploys it on {node.provider} only: {finish_move(node, provider_named)}"


def check_deploy(
    node: Node,
    provider: Provider,
    store: StateStore,
    *,
    force: bool,
    runtime: RuntimeChoice | None = None,
    allow_credentials: bool = False,
) -> None:
    """Raise, before anything is touched, what a deploy would be refused for."""
    require_provider(node, provider)
    check_source(source_of(node), home=store.home, dockerfile=needs_dockerfile(provider))
    if isinstance(provider, ChecksDeploys):
        provider.check_deploy(node, force=force)
    check_runtime(node, runtime)
    if not allow_credentials:
        refuse_credentials(source_of(node), store)


def check_runtime(node: Node, runtime: RuntimeChoice | None = None) -> None:
    """`UsageError` with code `runtime-is-a-link` for a runtime that would be replaced, and is a link."""
    copy = runtime_copy(Path(node.path))
    if copy is not None and copy.state is RuntimeState.LINK and copy.replaced(runtime):
        raise UsageError(
            f"{copy.folder / RUNTIME} is a link, so what it points to is left alone.",
            "Remove the link, and copy the runtime with `numerai copy-example`.",
            code="runtime-is-a-link",
        )


def deploy_locked(
    node: Node,
    provider: Provider,
    store: StateStore,
    report: Report,
    *,
    warn: Report | None = None,
    force: bool = False,
    runtime: RuntimeChoice | None = None,
) -> Deployment:
    """Build and put in place what was looked at before, by a command that has locked the node."""
    how = how_it_runs(node, provider)
    warned = how.why if how.new else None
    if warned is not None:
        (warn or report)(warned)
    _bring_runtime_up(node, store, report, runtime)
    with _without_keys(source_of(node), report) if needs_dockerfile(provider) else nullcontext():
        return provider.deploy(node, force=force, report=lambda text: None if text == warned else report(text))


@contextmanager
def _without_keys(source: Source, report: Report) -> Iterator[None]:
    """Says which keys a Dockerfile asks a build for, as those of the official tool do, and gets none of; and says it
    again where the build fails, as that may be why."""
    declared = " and ".join(declared_keys(dockerfile_text(source.dockerfile)))
    note = f"The build gets no {declared}: keys would stay in the image. The container finds them when it starts."
    if declared:
        report(note)
    try:
        yield
    except NumeraiError as error:
        if declared and error.code == "build-failed":
            error.hint = f"{error.hint or ''} {note}".lstrip()
        raise


def how_it_runs(node: Node, provider: Provider) -> HowItRuns:
    """How a deploy of now would let the node run."""
    return provider.how_it_runs(node) if isinstance(provider, RunsInWays) else HowItRuns()


def refuse_credentials(
    source: Source, store: StateStore, otherwise: str = "--allow-credentials builds all the same."
) -> None:
    """`UsageError` naming the files of the build context that hold credentials."""
    found = credentials_in(source, recorded_secrets(store))
    if not found:
        return
    listed = "\n".join(f"  {each}" for each in found[:LISTED])
    more = f"\n  and {len(found) - LISTED} more" if len(found) > LISTED else ""
    raise UsageError(
        f"Credentials would enter the image, where whoever has the image can read them:\n{listed}{more}",
        f"Name them in {ignore_file(source.context, source.folder)} (`**/.env`, say) or move them away; {otherwise}",
        code="credentials-in-image",
    )


def plan_deploy(
    node: Node,
    provider: Provider,
    store: StateStore,
    *,
    force: bool,
    runtime: RuntimeChoice | None = None,
    allow_credentials: bool = False,
) -> list[str]:
    """What a deploy would do, in words. Raises what it would be refused for."""
    check_deploy(node, provider, store, force=force, runtime=runtime, allow_credentials=allow_credentials)
    current, copy, steps = provider.deployment(node.name), runtime_copy(Path(node.path)), []
    if copy and copy.state is RuntimeState.INTERRUPTED:
        steps.append(f"finish replacing {RUNTIME} in {node.path}, which was interrupted")
    elif copy and copy.replaced(runtime):
        steps.append(_replacement(node, store, copy))
    if current and not force and not steps and current.source_hash == provider.source_hash(node):
        return [f"nothing: {source_of(node)} has not changed since the last deploy"]
    how = how_it_runs(node, provider)
    if isinstance(provider, RunByNumerai):
        upload = "upload it, and let Numerai validate it"
        return [*steps, f"pack and rehearse {source_of(node)}", upload, "ask, and let Numerai run it from then on"]
    steps.append(f"build {source_of(node)} for {node.provider}" + (f", to run {how.what}" if how.what else ""))
    return [*steps, f"replace {current.image}" if current else "deploy it"]


def runtime_note(node: Node, runtime: RuntimeChoice | None = None) -> str | None:
    """Why a deploy leaves another runtime than the tool's where it is; None when it does not."""
    copy = runtime_copy(Path(node.path))
    if copy is None or copy.replaced(runtime):
        return None
    what = f"{copy.folder / RUNTIME} is left alone:"
    mend = f"`numerai node -m {node.name} deploy --runtime replace` puts {RUNTIME} {own_version()} there."
    if copy.state is RuntimeState.OLD:
        return f"{what} --runtime keep. It is older than this tool's: {copy.label}."
    if copy.state is RuntimeState.NEWER:
        return f"{what} {copy.label} is newer than this tool's, {own_version()}. Update the tool."
    if copy.state is RuntimeState.LINK:
        return f"{what} it is a link."
    if copy.state is RuntimeState.CHANGED and copy.version != own_version():
        return f"{what} {copy.label} with changes of your own. {mend}"
    return None


def _bring_runtime_up(node: Node, store: StateStore, report: Report, choice: RuntimeChoice | None) -> None:
    folder = Path(node.path)
    with store.folder_lock(folder):
        finish_interrupted(folder)
        copy, note = runtime_copy(folder), runtime_note(node, choice)
        if note:
            report(note)
        if copy and copy.replaced(choice):
            check_runtime(node, choice)
            report(_replacement(node, store, copy))
            replace_runtime(folder, backup_folder(store.home, node.name, copy))


def _replacement(node: Node, store: StateStore, copy: RuntimeCopy) -> str:
    backup = backup_folder(store.home, node.name, copy)
    return f"replace {copy.label} in {node.path} by {own_version()}; the old copy is kept in {backup}"


def choose_earlier(node: Node, provider: Provider, home: Path, tag: str | None) -> str:
    """The tag to go back to: the given one, which must be known, or the latest one that does not run now. Where the
    provider keeps no images, the hint names the command that deploys the model before, which `home` keeps."""
    known = _with_history(provider, lambda: _deploy_the_model_before(node, home)).history(node.name)
    current = provider.deployment(node.name)
    earlier = [other for other in known if current is None or not current.image.endswith(f":{other}")]
    if tag is None:
        if not earlier:
            raise NumeraiError(f"{node.name} has no earlier image to go back to.", code="no-earlier-image")
        return earlier[0]
    if tag not in known:
        raise UsageError(
            f"{node.name} has no image {tag}.", f"It has: {', '.join(known) or 'none'}.", code="no-such-image"
        )
    return tag


def roll_back(node: Node, provider: Provider, store: StateStore, tag: str) -> Deployment:
    """Let the image of that tag run again. One command at a time changes a node."""
    with store.node_lock(node.name):
        return _with_history(provider).roll_back(node.name, tag)


def _deploy_the_model_before(node: Node, home: Path) -> str | None:
    from .ship import kept_models  # which brings the runtime

    kept = kept_models(node, home)
    if not kept:
        return None
    more = f" {counted(len(kept) - 1, 'older one')} beside it." if kept[1:] else ""
    command = f'numerai node -m {node.name} deploy --model-file "{kept[0]}"'
    return f"`{command}` deploys the model that it had before.{more}"


def _with_history(provider: Provider, otherwise: Callable[[], str | None] = lambda: None) -> RollsBack:
    if not isinstance(provider, RollsBack):
        raise NumeraiError(
            f"The provider {provider.name} keeps no earlier images to go back to.",
            otherwise() or "Deploy the earlier source instead.",
            code="not-supported",
        )
    return provider
