"""The composition root: builds what a command needs, when it needs it. The only file that names concrete adapters."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import EnvironmentNotReady, UsageError
from .files.places import place, users_home

if TYPE_CHECKING:
    from .events.surroundings import Surroundings
    from .models import Keys, Node
    from .ports import (
        ApiProbe,
        Clock,
        ContainerEngine,
        DataFiles,
        MoveRecord,
        Notifier,
        NumeraiApi,
        OfficialCloud,
        OfficialHome,
        OwnCommands,
        Provider,
        Rehearsal,
        StateStore,
    )
    from .providers.registry import ProviderContext
    from .render import Renderer
    from .watching.ledger import Ledger


Settings = Mapping[str, str | int]
Profiles = Mapping[str, tuple[str, str]]
"""AWS profiles that are about to be made: name -> id and secret of a key."""


def home_folder() -> Path:
    """`$NUMERAI_HOME`, by default `~/.numerai`. Raises as `place` and `users_home` do."""
    configured = os.environ.get("NUMERAI_HOME")
    return place(configured) if configured else users_home() / ".numerai"


class Factory:
    """What click hands to every command (`ctx.obj`). Tests give a subclass or set the attributes."""

    def __init__(self, home: Path | None = None):
        if home is not None:
            self.home = home
        self._providers: dict[str, Provider] = {}

    @cached_property
    def home(self) -> Path:
        """The tool's home folder. Read at first use: help needs none."""
        return home_folder()

    @cached_property
    def render(self) -> Renderer:
        """The only printer."""
        from .render import Renderer

        return Renderer()

    @cached_property
    def store(self) -> StateStore:
        """The user's home folder."""
        from .adapters.state_store import HomeStore

        return HomeStore(self.home)

    @property
    def official_home(self) -> OfficialHome:
        """The home folder as the official tool has left it."""
        from .adapters.official_home import OfficialHome as OfficialFolder
        from .adapters.state_store import HomeStore

        return OfficialFolder(HomeStore(self.home))

    @property
    def official_cloud(self) -> OfficialCloud:
        """What the official tool has made in AWS."""
        from .providers.aws.clients import AwsClients
        from .providers.aws.official import OfficialAws
        from .providers.aws.settings import AwsPaths, read_settings

        def own(region: str) -> AwsClients:
            return AwsClients(read_settings(self.store.settings("aws")), region)

        official = self.official_home
        return OfficialAws(AwsPaths(self.home), official.aws_nodes, official.aws_keys, own)

    @property
    def move_record(self) -> MoveRecord:
        """How far the move off the official tool's cluster has come."""
        from .adapters.move_record import MoveFile

        return MoveFile(self.home / "aws" / "move.json")

    @property
    def why_no_answer(self) -> Callable[[str], str | None]:
        """Says why an address does not serve a webhook."""
        from .adapters.webhook_probe import why_no_answer

        return why_no_answer

    @property
    def plan_aws_profile(self) -> Callable[[str, str, str], Callable[[], Path]]:
        """Plans to add a profile with keys to the AWS programs' own file."""
        from .adapters.aws_profiles import plan_profile

        return plan_profile

    @property
    def providers(self) -> Sequence[str]:
        """The names of all providers that there are."""
        from .providers.registry import provider_names

        return provider_names()

    @cached_property
    def clock(self) -> Clock:
        """The machine's clock."""
        from .adapters.clock import SystemClock

        return SystemClock()

    def keys(self) -> Keys:
        """The Numerai keys; `EnvironmentNotReady` with code `no-keys` when there are none."""
        keys = self.store.keys()
        if keys is None:
            raise EnvironmentNotReady(
                "There are no Numerai keys.",
                "Run `numerai setup`, or set NUMERAI_PUBLIC_ID and NUMERAI_SECRET_KEY.",
                code="no-keys",
            )
        return keys

    @cached_property
    def api(self) -> NumeraiApi:
        """Numerai's API with the user's keys."""
        return self.api_with(self.keys())

    @property
    def api_with(self) -> Callable[[Keys], NumeraiApi]:
        """Makes Numerai's API with given keys."""
        from .adapters.numerai_api import HttpNumeraiApi

        return HttpNumeraiApi

    @property
    def api_probe(self) -> ApiProbe:
        """Sends any request to Numerai's API with the user's keys."""
        from .adapters.numerai_api import HttpNumeraiApi

        return HttpNumeraiApi(self.keys())

    @property
    def watchers_api_with(self) -> Callable[[Keys], NumeraiApi]:
        """Makes Numerai's API with given keys for who asks again soon: every question has a total deadline."""
        from .adapters.numerai_api import HttpNumeraiApi

        return partial(HttpNumeraiApi, tries=2, seconds=20.0)

    @cached_property
    def data_files(self) -> DataFiles:
        """Numerai's data files, of the API that the user's keys belong to, or of Numerai itself without keys."""
        from .adapters.data_files import HttpDataFiles
        from .models import NUMERAI_API_URL

        keys = self.store.keys()
        url = keys.api_url if keys else os.environ.get("NUMERAI_API_URL") or NUMERAI_API_URL
        return HttpDataFiles(url, self.render.progress)

    @cached_property
    def ledger(self) -> Ledger:
        """What the watchers of this home folder have seen, decided and told."""
        from .watching.ledger import DATABASE_FILE, Ledger

        return Ledger(self.home / DATABASE_FILE)

    @cached_property
    def notifier(self) -> Notifier:
        """Tells the people whom `numerai notify` lists."""
        from .adapters.notifications import AppriseNotifier

        return AppriseNotifier(self.store.notify_urls)

    @property
    def notifier_to(self) -> Callable[[Mapping[str, str]], Notifier]:
        """Makes what tells given recipients only: name -> apprise URL."""
        from .adapters.notifications import AppriseNotifier

        return lambda urls: AppriseNotifier(lambda: urls)

    @property
    def check_notify_url(self) -> Callable[[str], None]:
        """Raises `UsageError` where a URL is none that can be told anything."""
        from .adapters.notifications import check_url

        return check_url

    @property
    def notify_examples(self) -> Sequence[str]:
        """Addresses of usual services, as they look."""
        from .adapters.notifications import EXAMPLES

        return EXAMPLES

    @property
    def surroundings(self) -> Surroundings:
        """What event handlers work with."""
        from .events.surroundings import Surroundings

        return Surroundings(self.home, self.clock, self.notifier, self.keys, self.api_with)

    @cached_property
    def engine(self) -> ContainerEngine:
        """The Docker engine."""
        from .adapters.docker_engine import DockerEngine

        return DockerEngine()

    @cached_property
    def own_commands(self) -> OwnCommands:
        """Runs this tool's own commands."""
        from .adapters.own_commands import ChildCommands

        return ChildCommands()

    def may_sleep(self) -> tuple[str, str] | None:
        """What makes this machine likely to sleep, and what keeps it awake; None where nothing speaks for it."""
        from .adapters.machine import how_to_keep_it_awake, why_it_may_sleep

        why = why_it_may_sleep()
        return None if why is None else (why, how_to_keep_it_awake())

    @property
    def rehearsal(self) -> Rehearsal:
        """Runs a node's container in the foreground."""
        from .providers.local.rehearsal import LocalRehearsal

        return LocalRehearsal(self.provider_context("local"))

    def provider(self, name: str) -> Provider:
        """The provider of that name, made once."""
        if name not in self._providers:
            from .providers.registry import provider_factory

            self._providers[name] = provider_factory(name)(self.provider_context(name))
        return self._providers[name]

    def provider_recorded(self, name: str) -> Provider:
        """The provider that a node is recorded with; one that is not there can still be asked, and knows nothing."""
        try:
            return self.provider(name)
        except UsageError as error:
            if error.code != "unknown-provider":
                raise
            from .providers.absent import AbsentProvider

            return self._providers.setdefault(name, AbsentProvider(name))

    def renewed(self, name: str) -> Provider:
        """The provider of that name, made anew: with the settings as they are recorded now."""
        self._providers.pop(name, None)
        return self.provider(name)

    def provider_with(self, name: str, settings: Settings, profiles: Profiles | None = None) -> Provider:
        """The provider of that name as it would be with these settings beside those recorded, and with `profiles`."""
        from .providers.registry import provider_factory

        context = self.provider_context(name)
        changed = replace(context, settings={**context.settings, **settings}, profiles=profiles or {})
        return provider_factory(name)(changed)

    def provider_of(self, node: Node) -> Provider:
        """The provider that runs a node."""
        return self.provider_recorded(node.provider)

    def provider_context(self, name: str) -> ProviderContext:
        """What the provider of that name is made from."""
        from .providers.registry import ProviderContext

        return ProviderContext(
            home=self.home,
            settings=self.store.settings(name),
            keys=self.store.keys,
            engine=lambda: self.engine,
            clock=self.clock,
            notify_urls=self.store.notify_urls,
        )
