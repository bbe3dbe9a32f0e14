"""Puts the AWS provider's parts together; each is made when it is needed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import cast

from ...adapters.terraform_runner import TerraformRunner
from ...ports import StackRunner
from ..registry import ProviderContext
from .clients import AwsClients
from .cluster import Cluster
from .image_registry import ImageRegistry, registry_login
from .images import ImageEngine, Images
from .settings import AwsPaths, AwsSettings, read_settings
from .stack_file import StackFile
from .terraform import terraform_runner


class AwsParts:
    """The parts, sharing one session of the SDK. `runner` and `clients` are given by tests only."""

    def __init__(
        self,
        context: ProviderContext,
        runner: Callable[[], StackRunner] | None = None,
        clients: AwsClients | None = None,
    ):
        self.context = context
        self.paths = AwsPaths(context.home)
        self._runner = runner
        self._clients = clients

    @cached_property
    def settings(self) -> AwsSettings:
        """The checked settings."""
        return read_settings(self.context.settings)

    @cached_property
    def clients(self) -> AwsClients:
        """The SDK's clients, in the region of the cluster once there is one."""
        return self._clients or AwsClients(self.settings, StackFile(self.paths).read().region)

    @cached_property
    def cluster(self) -> Cluster:
        """What changes the cluster."""
        return Cluster(self.paths, self.settings, self.clients, self.runner, self.context.keys, self.context.clock)

    @cached_property
    def images(self) -> Images:
        """What builds and pushes images."""
        # The factory gives what can also push; the port names what every provider may ask for.
        engine = cast(Callable[[], ImageEngine], self.context.engine)
        registry = ImageRegistry(lambda: registry_login(self.clients.client("ecr")))
        return Images(engine, registry, self.settings.cluster)

    def runner(self) -> StackRunner:
        """Terraform on the cluster."""
        return self._runner() if self._runner else self.terraform

    @cached_property
    def terraform(self) -> TerraformRunner:
        """The program itself; looked for when it is used."""
        return terraform_runner(self.paths, self.settings, self.clients.region)
