"""The cluster of all nodes: brought to what is recorded with Terraform, and taken away when its last node goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace as replace_settings
from typing import Any, TypeVar

from msgspec.structs import replace

from ...adapters.terraform_errors import PASSING
from ...errors import ProviderError, UsageError
from ...files.private import remove_tree, write_private
from ...models import NUMERAI_API_URL, Keys, Node
from ...ports import Clock, Report, StackPlan, StackRunner
from .adoption import take_over
from .clients import AwsClients
from .cluster_outputs import ClusterOutputs
from .cron import aws_cron
from .existing import Existing
from .keys import NodeKeys, require_keys
from .lambda_package import package_functions
from .limits import affordable_concurrency, in_words
from .remains import cluster_remains, lingering, missing, node_remains, remove_data
from .runs import BatchRuns
from .service_roles import make_service_roles
from .settings import AwsPaths, AwsSettings
from .stack_file import Stack, StackFile, new_stack_id, stack_node
from .subscription import Mail, mail_to
from .terraform import root_hash, terraform_root
from .url_permission import let_the_url_call
from .variables import check_name, fingerprint, terraform_variables

ACTIVE_LOOK = 20
MANY = 20
READY_SECONDS = 20
"""How long AWS gets to know in every part of it what was done, before a step that failed on that is tried again."""

_Done = TypeVar("_Done")


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
        cron = _checked_cron(node, self._settings.cluster)
        keys, urls = require_keys(self._keys()), self._notify_urls()
        with self.file.lock(report):
            stack = self.own()
            # Before as well: a job definition that refers to a parameter which is not there yet starts no run.
            self._hand_over(stack.outputs, keys, urls, report)
            self._take_over(stack, report)
            record = stack_node(node, cron, stack.nodes.get(node.name), self._clock.now())
            if stack.nodes.get(node.name) != record:
                self.file.set_node(node.name, record)
            outputs = ClusterOutputs(made := self._apply(report).outputs)
            self._hand_over(made, keys, urls, report, first=True)
            if self.mail(outputs) is Mail.UNCONFIRMED:
                email = self._settings.notification_email
                report(f"AWS has sent a mail to {email}: confirm it, or nothing else is ever sent there")
            return outputs.webhook_url(node.name, record.token)

    def expect(self, nodes: Iterable[Node], report: Report) -> None:
        """Record those of these nodes that are new, so that the next apply makes them all."""
        with self.file.lock(report):
            for node in [node for node in nodes if node.name not in self.own().nodes]:
                record = stack_node(node, _checked_cron(node, self._settings.cluster), None, self._clock.now())
                self.file.set_node(node.name, record)

    def destroy(self, name: str, *, force: bool, report: Report) -> None:
        """Take a node away, and with the last one the whole cluster; forgets it only once AWS shows nothing of it."""
        if name not in self.file.read().nodes:
            return
        with self.file.lock(report):
            stack = self.own()
            if name not in stack.nodes:
                return
            self._end_runs(stack, name, force=force, report=report)
            if set(stack.staying) - {name} and stack.outputs:
                self.stored_keys(stack.outputs).complete()  # the nodes that stay get this version's job definitions
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
        settings = replace_settings(self._settings, webhook_concurrency=self.webhook_concurrency)
        account = self._clients.account
        return terraform_variables(stack.staying, settings, account, self.region, api_url, packages, stack.id)

    @property
    def webhook_concurrency(self) -> int:
        """How many executions the webhook reserves: what is wanted, or what the account can spare."""
        wanted, function = self._settings.webhook_concurrency, f"{self._settings.cluster}-webhook"
        return affordable_concurrency(self._clients, function, wanted)

    def up_to_date(self, stack: Stack) -> bool:
        """Whether the variables and the root are those that were applied last."""
        return stack.applied == fingerprint(self.variables(stack), root_hash(terraform_root()))

    def mail(self, outputs: ClusterOutputs) -> Mail | None:
        """How the subscription of the setting's address stands; None where there is none to look at."""
        topic, email = outputs.optional("failures_topic_arn"), self._settings.notification_email
        return mail_to(self._clients, topic, email) if topic and email else None

    def missing(self, stack: Stack) -> list[str]:
        """What a finished apply made and AWS does not show any more, in words."""
        unsubscribed = self.mail(ClusterOutputs(stack.outputs)) is Mail.ABSENT
        email = [f"the subscription of {self._settings.notification_email}"] if unsubscribed else []
        return [*missing(self._clients, stack), *email]

    # steps

    def _hand_over(
        self, outputs: Mapping[str, Any], keys: Keys, urls: Mapping[str, str], report: Report, *, first: bool = False
    ) -> None:
        """Let AWS hold the keys and whom to notify; where it holds nothing yet only the `first` time, after an apply:
        by then nobody else has a cluster of this name."""
        if not outputs:
            return
        stored = self.stored_keys(outputs)
        if not (first or stored.exists):
            return
        stay = self.leaves_notify(stored, urls)
        if first and stay:
            report(f"{stored.addresses} address(es) to notify that another machine has given to AWS stay")
        before = stored.addresses
        if stored.put(keys, None if stay else urls):
            whom = (
                f", and {len(urls)} address(es) to notify instead of {before},"
                if not stay and before + len(urls)
                else ""
            )
            report(f"Put the Numerai keys{whom} into AWS's Parameter Store")
        if not stay:
            write_private(self._paths.told, stored.notify_hash.encode(), keep_previous=False)

    def leaves_notify(self, stored: NodeKeys, urls: Mapping[str, str]) -> bool:
        """Whether the addresses at AWS are left to another machine: none is listed here, and it was not this one that
        put them there."""
        if urls or not stored.notifies:
            return False
        try:
            return self._paths.told.read_text() != stored.notify_hash
        except FileNotFoundError:
            return True

    def stored_keys(self, outputs: Mapping[str, Any]) -> NodeKeys:
        """What AWS holds of the cluster with these outputs."""
        return NodeKeys(self._clients, self._settings.cluster, outputs)

    def own(self) -> Stack:
        """The cluster as recorded, once it is clear that these credentials are the ones that it belongs to."""
        stack = self.file.read()
        _require_same(stack, self._clients.account, self._settings)
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
        self._open_url(stack.outputs)  # before as well: Terraform takes away what older versions of this tool had put
        if self.up_to_date(stack):
            gone = self.missing(stack)
            if not gone:
                return stack
            report(f"Not there any more: {', '.join(gone)}. Making it again")
        whose = {"account": self._clients.account, "region": self.region, "cluster": self._settings.cluster}
        new = new_stack_id()
        stack = self.file.change(lambda now: replace(now, id=now.id or new, begun=True, applied=None, **whose))
        variables, runner = self.variables(stack), self._get_runner()
        mark = fingerprint(variables, root_hash(terraform_root()))
        if less := in_words(self._settings.webhook_concurrency, variables["webhook_concurrency"]):
            report(less)
        if not stack.outputs:
            make_service_roles(self._clients, self._clock, report)
        runner.prepare(report)

        def apply() -> dict[str, Any]:
            plan = runner.plan(variables, report)
            report(_size(plan))
            return dict(runner.apply(plan, slow_ones(report)))

        outputs = self._twice(apply, report)
        self._open_url(outputs)
        return self.file.change(lambda now: replace(now, applied=mark, outputs=outputs))

    def _twice(self, work: Callable[[], _Done], report: Report) -> _Done:
        """Do it, and once more where AWS was not ready for it."""
        try:
            return work()
        except ProviderError as error:
            if error.code != PASSING:
                raise
            report(f"{error.message} Trying again in {READY_SECONDS} seconds")
        self._clock.sleep(READY_SECONDS)
        self._take_over(self.file.read(), report)
        return work()

    def _open_url(self, outputs: Mapping[str, Any]) -> None:
        """Let the webhook's address call its function, once there is one."""
        if function := ClusterOutputs(outputs).optional("webhook_function"):
            let_the_url_call(self._clients, function)

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
        asked = (self._clients, self._settings.cluster, name, outputs)
        left = lingering(lambda: node_remains(*asked, artifacts_too=not keep), self._clock)
        if left:
            self.file.change(lambda now: replace(now, applied=None))
        _refuse_remains(name, left)

    def _take_away_all(self, stack: Stack, report: Report) -> None:
        if stack.begun:
            report("This was the last node: removing the cluster")
            self.file.change(lambda now: replace(now, applied=None))
            runner = self._get_runner()
            runner.prepare(report)
            variables = self.variables(stack)
            self._twice(lambda: runner.destroy(variables, slow_ones(report)), report)
            if stack.outputs:  # without them nothing was put there by this cluster
                self.stored_keys(stack.outputs).remove()
            cluster = self._settings.cluster
            asked = (self._clients, cluster, self._clients.account, self.region)
            _refuse_remains("the cluster", lingering(lambda: cluster_remains(*asked), self._clock))
        remove_tree(self._paths.terraform, self._paths.home)
        self._paths.told.unlink(missing_ok=True)
        self.file.forget()


def _checked_cron(node: Node, cluster: str) -> str | None:
    """A node's schedule as EventBridge reads it; `UsageError` for a name or a schedule that AWS does not take."""
    check_name(node, cluster)
    return aws_cron(node.cron) if node.cron else None


def _require_same(stack: Stack, account: str, settings: AwsSettings) -> None:
    """`UsageError` for an account, a region or a name that is not the cluster's."""
    if stack.account not in (None, account):
        raise UsageError(
            f"The cluster lives in the account {stack.account}, but the credentials are those of {account}.",
            "Choose others with AWS_PROFILE.",
            code="account-change",
        )
    if stack.region is not None and settings.region not in (None, stack.region):
        raise UsageError(
            f"The cluster lives in {stack.region}, but {settings.region} is asked for.",
            "Unset AWS_REGION, or destroy its nodes before you move it.",
            code="region-change",
        )
    if stack.cluster not in (None, settings.cluster):
        raise UsageError(
            f"The nodes here belong to the cluster {stack.cluster}, but {settings.cluster} is asked for.",
            "Unset NUMERAI_AWS_CLUSTER, or destroy the nodes before you rename it.",
            code="cluster-change",
        )


def slow_ones(report: Report) -> Report:
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
