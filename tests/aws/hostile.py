"""A hostile AWS: what a new or a busy account does and moto does not, as modes of a world. The plain world has none.

Every mode names its source. `World.hostile()` has all of them on; a test may change a mode while the emulator runs.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import moto.awslambda.models as lambda_models
import moto.awslambda.urls as lambda_urls
from moto.awslambda.exceptions import InvalidParameterValueException
from moto.awslambda.models import LambdaBackend
from moto.awslambda.responses import LambdaResponse
from moto.batch.exceptions import ClientException
from moto.batch.models import BatchBackend, Job
from moto.core.responses import ActionResult
from moto.iam.exceptions import EntityAlreadyExists, InvalidInput
from moto.iam.models import SERVICE_NAME_CONVERSION, IAMBackend
from moto.secretsmanager.exceptions import InvalidRequestException
from moto.secretsmanager.models import SecretsManagerBackend

BATCH, ECS = "batch.amazonaws.com", "ecs.amazonaws.com"
LEAST_UNRESERVED = 100
"""What Lambda leaves to functions without a reservation; an account with a lower limit can reserve nothing.
docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html"""
NO_ROLE = (
    "CLIENT_ERROR - Unable to assume the service linked role. Please verify that the ECS service linked role exists."
)
STILL_USED = "Cannot delete, found existing JobQueue relationship"
TAKEN = "Service role name {} has been taken in this account, please try a different suffix."


@dataclass
class World:
    """The modes of an emulated AWS, its clock, and how often each mode has shown itself."""

    account_concurrency: int = 1000
    """Lambda's limit of the account: 1,000, and 10 in a new one (DataDog/datadog-serverless-functions#621, answers of
    GetAccountSettings in awslabs/fhir-works-on-aws-deployment#691)."""
    role_seconds: float | None = None
    """How old the service-linked roles of Batch and ECS must be to be assumed. None: they can be at once. With a number
    an environment that is made too early ends INVALID, and makes the roles that are missing: the next apply works
    (terraform-provider-aws#15452, aws/containers-roadmap#2614). How long AWS takes is unknown."""
    spot: bool = True
    """Whether there is Spot capacity. Without it a job whose queue asks Spot first stays RUNNABLE, for ever
    (apache/airflow#38298). When AWS goes on to the next environment of the queue is unknown."""
    linger_seconds: float = 0
    """How long what was deleted is still listed: environments and queues of Batch, DELETING and then DELETED (CEStatus
    and JQStatus of its API), and secrets, with a DeletedDate ("an asynchronous background process", DeleteSecret)."""
    url_seconds: float = 0
    """How long a new function URL answers 403: permissions take time to be known everywhere
    (simple-container-com/api#83)."""
    sessions_end: bool = False
    """Whether the keys of an assumed role expire, by the emulator's clock."""
    throttle_every: int = 0
    """Every so many calls of a service one is refused before anything is done; 0: none."""
    delivers: bool = False
    """Whether EventBridge, Scheduler and the alarms of CloudWatch act: `delivery.py`."""
    remembers: bool = True
    """Whether a request that is sent again is answered as the first time (`moto_gaps.Repeated`). AWS does not."""
    ahead: float = 0
    """Seconds that the emulator's clock is ahead of this machine's."""
    seen: Counter[str] = field(default_factory=Counter)
    """How often each mode has shown itself, by its name."""

    @classmethod
    def hostile(cls, **changes: Any) -> World:
        """Everything at once."""
        return cls(**{**HOSTILE, **changes})

    def now(self) -> float:
        """The emulator's time, in seconds since 1970."""
        return time.time() + self.ahead

    def change(self, changes: Mapping[str, Any]) -> None:
        """Set modes by their names; raises `ValueError` for one that there is not."""
        if unknown := set(changes) - ({entry.name for entry in fields(self)} - {"seen"}):
            raise ValueError(f"no mode of the emulator: {', '.join(sorted(unknown))}")
        for name, value in changes.items():
            setattr(self, name, value)

    def said(self) -> dict[str, Any]:
        """Modes, clock and counts as JSON can hold them."""
        return {**asdict(self), "seen": dict(self.seen)}


HOSTILE: Mapping[str, Any] = {
    "account_concurrency": 10,
    "role_seconds": 5.0,
    "spot": False,
    "linger_seconds": 6.0,
    "url_seconds": 10.0,
    "sessions_end": True,
    "throttle_every": 20,
    "delivers": True,
    "remembers": False,
}


def install(world: World, stack: ExitStack) -> None:
    """Let moto do what the world says, until the stack is closed. Comes after what `moto_gaps` installs."""
    _install_concurrency(world, stack)
    _install_roles(world, stack)
    _install_queues(world, stack)
    _install_secrets(world, stack)
    _install_urls(world, stack)
    _install_ages(world, stack)


def replaced(stack: ExitStack, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put what `make` gives for a stock function in its place, until the stack is closed."""
    stock = getattr(owner, name)
    setattr(owner, name, make(stock))
    stack.callback(setattr, owner, name, stock)


def _install_concurrency(world: World, stack: ExitStack) -> None:
    def reserved(backend: Any, but: str = "") -> int:
        functions = backend.list_functions(None)
        return sum(int(each.reserved_concurrency or 0) for each in functions if each.function_name != but)

    def put(stock: Any) -> Any:
        def put_function_concurrency(self: Any, function_name: str, reserved_concurrency: str) -> Any:
            left = world.account_concurrency - reserved(self, function_name) - int(reserved_concurrency)
            least = min(LEAST_UNRESERVED, world.account_concurrency)
            if left < least:
                world.seen["account_concurrency"] += 1
                raise InvalidParameterValueException(
                    "Specified ReservedConcurrentExecutions for function decreases account's "
                    f"UnreservedConcurrentExecution below its minimum value of [{least}]."
                )
            return stock(self, function_name, reserved_concurrency)

        return put_function_concurrency

    def get_account_settings(self: Any) -> ActionResult:
        functions = list(self.backend.list_functions(None))
        size = sum(function.code_size for function in functions)
        limit = {
            "TotalCodeSize": 80530636800,
            "CodeSizeUnzipped": 262144000,
            "CodeSizeZipped": 52428800,
            "ConcurrentExecutions": world.account_concurrency,
            "UnreservedConcurrentExecutions": world.account_concurrency - reserved(self.backend),
        }
        usage = {"TotalCodeSize": size, "FunctionCount": len(functions)}
        return ActionResult({"AccountLimit": limit, "AccountUsage": usage})

    replaced(stack, LambdaBackend, "put_function_concurrency", put)
    LambdaResponse.get_account_settings = get_account_settings  # type: ignore[attr-defined]
    lambda_urls.url_paths[r"{0}/(?P<api_version>[^/]+)/account-settings/?$"] = LambdaResponse.dispatch


def _install_roles(world: World, stack: ExitStack) -> None:
    made: dict[str, float] = {}
    SERVICE_NAME_CONVERSION.update({"batch": "Batch", "ecs": "ECS"})

    def create_role(stock: Any) -> Any:
        def create_service_linked_role(self: Any, service_name: str, description: str, suffix: str) -> Any:
            try:
                role = stock(self, service_name, description, suffix)
            except EntityAlreadyExists as error:
                raise InvalidInput(TAKEN.format(str(error).split("name ")[-1].split(" ")[0])) from error
            made[role.arn] = world.now()
            return role

        return create_service_linked_role

    def create_environment(stock: Any) -> Any:
        def create_compute_environment(self: Any, *args: Any, **kwargs: Any) -> Any:
            environment_fails = world.role_seconds is not None and not all(
                _usable(self.iam_backend, service, made, world) for service in (BATCH, ECS)
            )
            environment = stock(self, *args, **kwargs)
            if environment_fails:
                world.seen["role_seconds"] += 1
                environment.failed = NO_ROLE
                if _linked_role(self.iam_backend, ECS) is None:
                    self.iam_backend.create_service_linked_role(ECS, "", "")
            return environment

        return create_compute_environment

    replaced(stack, IAMBackend, "create_service_linked_role", create_role)
    replaced(stack, BatchBackend, "create_compute_environment", create_environment)


def _linked_role(iam: Any, service: str) -> Any:
    return next((role for role in iam.roles.values() if role.path == f"/aws-service-role/{service}/"), None)


def _usable(iam: Any, service: str, made: Mapping[str, float], world: World) -> bool:
    role = _linked_role(iam, service)
    return role is not None and world.now() - made.get(role.arn, 0) >= (world.role_seconds or 0)


class Gone:
    """What was deleted and is still listed."""

    def __init__(self, world: World):
        self._world = world
        self._entries: dict[str, tuple[float, str, dict[str, Any]]] = {}

    def add(self, kind: str, key: str, description: dict[str, Any]) -> None:
        """Go on listing this one, under its ARN."""
        if self._world.linger_seconds:
            self._entries[key] = (self._world.now(), kind, description)

    def listed(self, kind: str, wanted: list[str] | None) -> list[dict[str, Any]]:
        """The descriptions of that kind, of all or of those with these ARNs or names."""
        found = []
        for key, (since, what, description) in list(self._entries.items()):
            share = (self._world.now() - since) / (self._world.linger_seconds or 1)
            if share >= 1:
                self._entries.pop(key, None)
            elif what == kind and (not wanted or {key, description[f"{kind}Name"]} & set(wanted)):
                self._world.seen["linger_seconds"] += 1
                found.append({**description, "status": "DELETING" if share < 0.5 else "DELETED"})
        return found


def _install_queues(world: World, stack: ExitStack) -> None:
    gone = Gone(world)

    def describe_environments(stock: Any) -> Any:
        def describe_compute_environments(self: Any, environments: list[str] | None = None) -> Any:
            found = stock(self, environments)
            for entry in found:
                environment = self.get_compute_environment_by_arn(entry["computeEnvironmentArn"])
                if reason := getattr(environment, "failed", None):
                    entry |= {"status": "INVALID", "statusReason": reason}
            return found + gone.listed("computeEnvironment", environments)

        return describe_compute_environments

    def describe_queues(stock: Any) -> Any:
        def describe_job_queues(self: Any, job_queues: list[str] | None = None) -> Any:
            return stock(self, job_queues) + gone.listed("jobQueue", job_queues)

        return describe_job_queues

    def delete_queue(stock: Any) -> Any:
        def delete_job_queue(self: Any, queue_name: str) -> None:
            if queue := self.get_job_queue(queue_name):
                gone.add("jobQueue", queue.arn, queue.describe())
            stock(self, queue_name)

        return delete_job_queue

    def delete_environment(stock: Any) -> Any:
        def delete_compute_environment(self: Any, compute_environment_name: str) -> None:
            environment = self.get_compute_environment(compute_environment_name)
            if environment is None:
                return
            deleting = [queue for queue in gone.listed("jobQueue", None) if queue["status"] == "DELETING"]
            orders = [queue.env_order_json for queue in self._job_queues.values()]
            orders += [queue["computeEnvironmentOrder"] for queue in deleting]
            names = {environment.arn, environment.name}
            if any(entry["computeEnvironment"] in names for order in orders for entry in order):
                raise ClientException(STILL_USED)
            (description,) = self.describe_compute_environments([environment.arn])
            stock(self, compute_environment_name)
            gone.add("computeEnvironment", environment.arn, description)

        return delete_compute_environment

    replaced(stack, BatchBackend, "describe_compute_environments", describe_environments)
    replaced(stack, BatchBackend, "describe_job_queues", describe_queues)
    replaced(stack, BatchBackend, "delete_job_queue", delete_queue)
    replaced(stack, BatchBackend, "delete_compute_environment", delete_environment)


def _install_secrets(world: World, stack: ExitStack) -> None:
    ends: dict[tuple[int, str], float] = {}

    def swept(stock: Any) -> Any:
        def after_sweeping(self: Any, *args: Any, **kwargs: Any) -> Any:
            for (backend, name), end in list(ends.items()):
                if backend == id(self) and end <= world.now():
                    del ends[backend, name]
                    self.secrets.pop(name)
            return stock(self, *args, **kwargs)

        return after_sweeping

    def create(stock: Any) -> Any:
        def create_secret(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
            if (id(self), name) in ends:
                raise InvalidRequestException(
                    "You can't create this secret because a secret with this name is already scheduled for deletion."
                )
            return stock(self, name, *args, **kwargs)

        return create_secret

    def delete(stock: Any) -> Any:
        def delete_secret(self: Any, secret_id: str, **how: Any) -> Any:
            secret = self.secrets.get(secret_id)
            if not (how["force_delete_without_recovery"] and world.linger_seconds and secret):
                return stock(self, secret_id, **how)
            world.seen["linger_seconds"] += 1
            secret.delete(world.now())
            ends[id(self), secret.name] = world.now() + world.linger_seconds
            return secret.arn, secret.name, world.now()

        return delete_secret

    replaced(stack, SecretsManagerBackend, "create_secret", create)
    replaced(stack, SecretsManagerBackend, "delete_secret", delete)
    for name in ("create_secret", "delete_secret", "describe_secret", "list_secrets", "get_secret_value"):
        replaced(stack, SecretsManagerBackend, name, swept)


def _install_ages(world: World, stack: ExitStack) -> None:
    """Jobs are as old as the emulator's clock says, for readers whose clock is this machine's."""

    def init(stock: Any) -> Any:
        def made(self: Any, *args: Any, **kwargs: Any) -> None:
            self.made_ahead = world.ahead
            stock(self, *args, **kwargs)

        return made

    def describe(stock: Any) -> Any:
        def describe_short(self: Any) -> dict[str, Any]:
            described: dict[str, Any] = stock(self)
            described["createdAt"] -= int(1000 * (world.ahead - self.made_ahead))
            return described

        return describe_short

    replaced(stack, Job, "__init__", init)
    replaced(stack, Job, "describe_short", describe)


def _install_urls(world: World, stack: ExitStack) -> None:
    def config(stock: Any) -> Any:
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            stock(self, *args, **kwargs)
            self.since = world.now()

        return init

    replaced(stack, lambda_models.FunctionUrlConfig, "__init__", config)
