"""The cluster of all nodes: brought to what is recorded with Terraform, and taken away when its last node goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from ...errors import ProviderError, UsageError
from ...files.private import remove_tree, write_private
from ...models import NUMERAI_API_URL, Keys, Node
from ...ports import Clock, Report, StackPlan, StackRunner
from .adoption import take_over
from .clients import AwsClients
from .cluster_outputs import ClusterOutputs
from .cron import aws_cron
from .existing import Existing
from .keys import KeysSecret, require_keys
from .lambda_package import package_functions
from .remains import cluster_remains, missing, node_remains, remove_data
from .runs import BatchRuns
from .settings import AwsPaths, AwsSettings
from .stack_file import Stack, StackFile, new_stack_id, stack_node
from .terraform import root_hash, terraform_root
from .variables import check_name, fingerprint, terraform_variables

ACTIVE_LOOK = 20
MANY = 20


class Cluster:
    """What changes the cluster. Every method that changes anything holds the lock while it does."""

    def __init__(
        self,
        paths: AwsPaths,
        settings: AwsSettings,
        clients: AwsClients,
        runner: Callable[[], StackRunner],
        keys: Callable[[], Keys | None],
        notify_urls: Callable[[], Mapping[str, str]],
        clock: Clock,
        file: StackFile,
    ):
        self._paths = paths
        self._settings = settings
        self._clients = clients
        self._get_runner = runner
        self._keys = keys
        self._notify_urls = notify_urls
        self._clock = clock
        self.file = file

    @property
    def region(self) -> str:
        """Where the cluster lives, or will."""
        return self.file.read().region or self._clients.region

    def configure(self, node: Node, report: Report) -> str:
        """Make the node a part of the cluster, and the cluster what is recorded; returns the webhook's address."""
        check_name(node, self._settings.cluster)
        cron = aws_cron(node.cron) if node.cron else None
        keys, urls = require_keys(self._keys()), self._notify_urls()
        with self.file.lock(report):
            stack = self._own()
            # Before as well: a job definition that refers to a field which the secret has not yet starts no run.
            self._hand_over(stack.outputs, keys, urls, report)
            self._take_over(stack, report)
            record = stack_node(node, cron, stack.nodes.get(node.name), self._clock.now())
            if stack.nodes.get(node.name) != record:
                self.file.set_node(node.name, record)
            stack = self._apply(report)
            outputs = ClusterOutputs(stack.outputs)
            self._hand_over(stack.outputs, keys, urls, report, first=True)
            return outputs.webhook_url(node.name, record.token)

    def destroy(self, name: str, *, force: bool, report: Report) -> None:
        """Take a node away, and with the last one the whole cluster; forgets it only once AWS shows nothing of it."""
        if name not in self.file.read().nodes:
            return
        with self.file.lock(report):
            stack = self._own()
            if name not in stack.nodes:
                return
            self._end_runs(stack, name, force=force, report=report)
            if set(stack.staying) - {name} and (secret := self._secret(stack.outputs)):
                secret.complete()  # what follows gives the nodes that stay this version's job definitions
            self._take_over(stack, report)
            stack = self.file.set_node(name, replace(stack.nodes[name], leaving=True))
            if stack.staying:
                self._take_away(stack, name, report)
                self.file.set_node(name, None)
            else:
                self._take_away_all(stack, report)

    def variables(self, stack: Stack) -> dict[str, Any]:
        """What Terraform is given for the nodes that stay."""
        packages = package_functions(self._paths.root)
        keys = self._keys()
        api_url = keys.api_url if keys else NUMERAI_API_URL
        return terraform_variables(stack.staying, self._settings, self.region, api_url, packages, stack.id)

    def up_to_date(self, stack: Stack) -> bool:
        """Whether the variables and the root are those that were applied last."""
        return stack.applied == fingerprint(self.variables(stack), root_hash(terraform_root()))

    # steps

    def _hand_over(
        self, outputs: Mapping[str, Any], keys: Keys, urls: Mapping[str, str], report: Report, *, first: bool = False
    ) -> None:
        """Let the secret hold the keys and whom to notify; one that holds nothing yet only the `first` time."""
        secret = self._secret(outputs)
        if not secret or not (first or secret.exists):
            return
        stay = self.leaves_notify(secret, urls)
        if first and stay:
            report(f"{secret.addresses} address(es) to notify that another machine has put into Secrets Manager stay")
        before = secret.addresses
        if secret.put(keys, None if stay else urls):
            whom = (
                f", and {len(urls)} address(es) to notify instead of {before},"
                if not stay and before + len(urls)
                else ""
            )
            report(f"Put the Numerai keys{whom} into Secrets Manager")
        if not stay:
            write_private(self._paths.told, secret.notify_hash.encode(), keep_previous=False)

    def leaves_notify(self, secret: KeysSecret, urls: Mapping[str, str]) -> bool:
        """Whether the addresses in the secret are left to another machine: none is listed here, and it was not this one
        that put them there."""
        if urls or not secret.notifies:
            return False
        try:
            return self._paths.told.read_text() != secret.notify_hash
        except FileNotFoundError:
            return True

    def _secret(self, outputs: Mapping[str, Any]) -> KeysSecret | None:
        arn = ClusterOutputs(outputs).optional("keys_secret_arn")
        return KeysSecret(self._clients, arn) if arn else None

    def _own(self) -> Stack:
        """The cluster as recorded, once it is clear that these credentials are the ones that it belongs to."""
        stack = self.file.read()
        if stack.account not in (None, self._clients.account):
            raise UsageError(
                f"The cluster lives in the account {stack.account}, but the credentials are those of "
                f"{self._clients.account}.",
                "Choose others with AWS_PROFILE.",
                code="account-change",
            )
        if stack.region is not None and self._settings.region not in (None, stack.region):
            raise UsageError(
                f"The cluster lives in {stack.region}, but {self._settings.region} is asked for.",
                "Unset AWS_REGION, or destroy its nodes before you move it.",
                code="region-change",
            )
        if stack.cluster not in (None, self._settings.cluster):
            raise UsageError(
                f"The nodes here belong to the cluster {stack.cluster}, but {self._settings.cluster} is asked for.",
                "Unset NUMERAI_AWS_CLUSTER, or destroy the nodes before you rename it.",
                code="cluster-change",
            )
        return stack

    def _take_over(self, stack: Stack, report: Report) -> None:
        """Bring under Terraform what an interrupted command made and could not record, of every node there is."""
        if not stack.unfinished or stack.id is None:
            return
        runner = self._get_runner()
        runner.prepare(report)
        everything = {name: replace(node, leaving=False) for name, node in stack.nodes.items()}
        take_over(
            runner,
            self.variables(replace(stack, nodes=everything)),
            Existing(self._clients, stack.id, self._clock),
            report,
        )

    def _apply(self, report: Report) -> Stack:
        """Run Terraform unless everything is as it would leave it."""
        stack = self.file.read()
        if self.up_to_date(stack):
            gone = missing(self._clients, stack)
            if not gone:
                return stack
            report(f"Not there any more: {', '.join(gone)}. Making it again")
        whose = {"account": self._clients.account, "region": self.region, "cluster": self._settings.cluster}
        new = new_stack_id()
        stack = self.file.change(lambda now: replace(now, id=now.id or new, begun=True, applied=None, **whose))
        variables, runner = self.variables(stack), self._get_runner()
        mark = fingerprint(variables, root_hash(terraform_root()))
        runner.prepare(report)
        plan = runner.plan(variables, report)
        report(_size(plan))
        outputs = dict(runner.apply(plan, _slow_ones(report)))
        return self.file.change(lambda now: replace(now, applied=mark, outputs=outputs))

    def _end_runs(self, stack: Stack, name: str, *, force: bool, report: Report) -> None:
        runs = BatchRuns(self._clients, stack, self._clock)
        for run in runs.runs(name, ACTIVE_LOOK):
            if run.state.final:
                continue
            if not force:
                raise ProviderError(
                    f"Run {run.id} of {name} is {run.state.value}.",
                    "Wait for its end, or use --force to stop it.",
                    code="run-active",
                )
            report(f"Stopping run {run.id}")
            runs.cancel(run.id)

    def _take_away(self, stack: Stack, name: str, report: Report) -> None:
        outputs = ClusterOutputs(self._apply(report).outputs)
        self._end_runs(stack, name, force=True, report=report)  # a call that came in before the webhook was closed
        keep = self._settings.keep_artifacts
        remove_data(self._clients, name, outputs, keep_artifacts=keep)
        left = list(node_remains(self._clients, self._settings.cluster, name, outputs, artifacts_too=not keep))
        if left:
            self.file.change(lambda now: replace(now, applied=None))
        _refuse_remains(name, left)

    def _take_away_all(self, stack: Stack, report: Report) -> None:
        if stack.begun:
            report("This was the last node: removing the cluster")
            self.file.change(lambda now: replace(now, applied=None))
            runner = self._get_runner()
            runner.prepare(report)
            runner.destroy(self.variables(stack), _slow_ones(report))
            cluster = self._settings.cluster
            left = cluster_remains(self._clients, cluster, self._clients.account, self.region)
            _refuse_remains("the cluster", list(left))
        remove_tree(self._paths.terraform, self._paths.home)
        self._paths.told.unlink(missing_ok=True)
        self.file.forget()


def _slow_ones(report: Report) -> Report:
    """Says what takes long; the dozens of other steps are details."""
    return lambda line: report(line if line.endswith("so far)") else f"  {line}")


def _size(plan: StackPlan) -> str:
    made, changed = plan.count("create", "replace"), plan.count("update")
    patience = ": this takes some minutes" if made > MANY else ""
    return f"{made} to make, {changed} to change, {plan.count('delete')} to remove in AWS{patience}"


def _refuse_remains(of: str, left: list[str]) -> None:
    if left:
        raise ProviderError(
            f"Not everything of {of} could be removed: {', '.join(left)}.",
            "Run `numerai node destroy` again.",
            code="not-gone",
        )
