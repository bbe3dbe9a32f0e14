"""Puts the AWS provider's parts together; each is made when it is needed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from ...adapters.terraform_runner import TerraformRunner
from ...ports import StackRunner
from ..registry import ProviderContext
from .clients import AwsClients, connects_with
from .cluster import Cluster
from .image_registry import ImageRegistry
from .images import Images
from .remote_state import RemoteRecord
from .settings import AwsPaths, AwsSettings, read_settings
from .stack_file import StackFile
from .terraform import terraform_runner


class AwsParts:
    """The parts, sharing one session of the SDK. `runner` and `clients` are given by tests only."""

    def __init__(
        self,
        context: ProviderContext,
        runner: Callable[[str | None], StackRunner] | None = None,
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
        recorded = None if self.settings.state_bucket else StackFile(self.paths).read().region
        return self._clients or AwsClients(self.settings, recorded, connects_with(self.context.profiles))

    @cached_property
    def file(self) -> StackFile:
        """The record of the cluster: in the home folder, or in the state bucket."""
        return self.file_in(self.settings.state_bucket)

    def file_in(self, bucket: str | None) -> StackFile:
        """The record as it is kept in a bucket, or with None in the home folder."""
        if bucket is None:
            return StackFile(self.paths)
        return StackFile(self.paths, lambda: RemoteRecord(self.clients, bucket, self.settings.cluster))

    @cached_property
    def cluster(self) -> Cluster:
        """What changes the cluster."""
        return Cluster(
            self.paths,
            self.settings,
            self.clients,
            self.runner,
            self.context.keys,
            self.context.notify_urls,
            self.context.clock,
            self.file,
        )

    @cached_property
    def images(self) -> Images:
        """What builds and pushes images."""
        settings = self.settings
        return Images(self.context.engine, ImageRegistry(self.clients), settings.cluster, settings.architecture)

    def runner(self) -> StackRunner:
        """Terraform on the cluster."""
        return self.runner_in(self.settings.state_bucket)

    def require_terraform(self) -> None:
        """Raise `EnvironmentNotReady` where the program is missing or too old."""
        if self._runner is None:
            _ = self.terraform.program

    def runner_in(self, bucket: str | None) -> StackRunner:
        """Terraform with its state in a bucket, or with None in the home folder."""
        if self._runner:
            return self._runner(bucket)
        return terraform_runner(self.paths, self.settings, self.clients, bucket)

    @cached_property
    def terraform(self) -> TerraformRunner:
        """The program itself; looked for when it is used."""
        return terraform_runner(self.paths, self.settings, self.clients, self.settings.state_bucket)
