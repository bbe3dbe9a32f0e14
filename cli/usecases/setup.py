"""Records the user's keys, once Numerai has accepted them, and the settings of a provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..counting import counted
from ..errors import NumeraiError, UsageError
from ..foreign import one_line
from ..installation import beside_official
from ..models import Check, CheckStatus, Keys, TokenInfo
from ..names import LONGEST
from ..ports import MovesState, NumeraiApi, Provider, Report, StateStore
from .configure import refuse_legacy
from .inspect import list_nodes

NEEDED_SCOPES = ("upload_submission", "read_submission_info", "read_user_info", "write_user_info")
"""What the tool and its nodes use: submit, look at submissions, list models, register webhooks (numerai_api schema)."""
STAKE_SCOPES = ("stake", "web3_staking", "delete")
"""What a key that lies on servers should not be able to do."""
CHOICE = "setup"
"""Under this name, which no provider has, the settings hold what `setup` itself has to remember."""


@dataclass(frozen=True)
class FoundModel:
    """A model of the account; `tournament` is its number."""

    name: str
    tournament: int


@dataclass(frozen=True)
class SetUp:
    """What setup found and recorded. `account` is None when the keys were left alone; `lacks` is what the provider
    needs and has not, as `doctor` says it."""

    home: Path
    provider: str
    account: TokenInfo | None
    models: tuple[FoundModel, ...]
    warnings: tuple[str, ...]
    settings: Mapping[str, str | int]
    lacks: tuple[Check, ...] = ()


def chosen_provider(store: StateStore) -> str | None:
    """The provider that `setup` was last told; None when it never was."""
    chosen = store.settings(CHOICE).get("provider")
    return str(chosen) if chosen else None


def lacking(provider: Provider) -> tuple[Check, ...]:
    """What a provider needs and has not, before any node uses it: its extra, programs, credentials."""
    try:
        checks = [check for check in provider.checks(()) if check.node is None]
        return tuple(check for check in checks if check.status is CheckStatus.FAILED)
    except NumeraiError as error:
        return (Check(provider.name, CheckStatus.FAILED, error.message, error.hint),)


def set_up(
    keys: Keys | None,
    provider: str,
    settings: Mapping[str, str | int],
    *,
    store: StateStore,
    api_with: Callable[[Keys], NumeraiApi],
    check: Callable[[Mapping[str, object]], Mapping[str, str | int]],
    dry_run: bool = False,
) -> SetUp:
    """Check the keys with Numerai, then write keys and settings; with `dry_run` nothing is written.

    `keys` None leaves the recorded keys alone. Settings are added to what was recorded before, once `check` has found
    nothing wrong with them.
    """
    refuse_legacy(store)
    settings = check(settings)
    account: TokenInfo | None = None
    models: tuple[FoundModel, ...] = ()
    strangers: list[str] = []
    if keys is not None:
        api = api_with(keys)
        account, listed = api.token_info(), api.models()
        shown = (FoundModel(one_line(each.name, LONGEST), each.tournament) for each in listed)
        models = tuple(sorted(shown, key=_by_tournament))
        known = {each.id for each in listed}
        strangers = [node.name for node in list_nodes(store) if node.model_id not in known]
    merged = {**store.settings(provider), **settings}
    if not dry_run:
        if keys is not None:
            store.save_keys(keys)
        if merged != store.settings(provider):
            store.save_settings(provider, merged)
        if chosen_provider(store) != provider:
            store.save_settings(CHOICE, {"provider": provider})
    warnings = [*scope_warnings(account), *stranger_warnings(strangers)] if account else []
    if (beside := beside_official()) is not None:
        warnings.append(f"{beside[0]}. {beside[1]}.")
    return SetUp(store.home, provider, account, models, tuple(warnings), merged)


def stranger_warnings(nodes: Sequence[str]) -> list[str]:
    """What is wrong with keys whose account does not have the models of these nodes."""
    if not nodes:
        return []
    return [
        f"The account of these keys does not have the models of {', '.join(nodes)}: Numerai goes on calling these "
        "nodes and refuses what they submit. Run `numerai setup` with the keys of the account that has the models; the "
        "nodes are as they were."
    ]


def _by_tournament(model: FoundModel) -> tuple[int, str]:
    return model.tournament, model.name


def scope_warnings(account: TokenInfo) -> list[str]:
    """What is wrong with the scopes of an API token, in words; empty when nothing is."""
    missing = [scope for scope in NEEDED_SCOPES if scope not in account.scopes]
    risky = [scope for scope in STAKE_SCOPES if scope in account.scopes]
    warnings = []
    if missing:
        warnings.append(
            f"The key lacks {counted(len(missing), 'scope')} ({', '.join(missing)}): some commands will be refused."
        )
    if risky:
        may = f"{counted(len(risky), 'scope')}: {', '.join(risky)}"
        warnings.append(
            f"The key could move or delete what is yours ({may}), and it is given to every node. "
            "Make one without that at numer.ai (Settings, API keys)."
        )
    return warnings


def move_state(provider: Provider, remote: bool, store: StateStore, report: Report) -> str | None:
    """Keep a provider's state where several machines see it, or in the home folder again, and record where it is."""
    if not isinstance(provider, MovesState):
        raise UsageError(f"The provider {provider.name} keeps its state on this machine.", code="not-supported")
    bucket = provider.move_state(remote, report)
    settings = {name: value for name, value in store.settings(provider.name).items() if name != "state_bucket"}
    store.save_settings(provider.name, {**settings, "state_bucket": bucket} if bucket else settings)
    return bucket
