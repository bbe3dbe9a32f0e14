"""The smaller things that stock moto lacks: image repositories that are real, budgets, transactions that are safe."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import moto.ecr.models as ecr_models
import moto.ecr.responses as ecr_responses
import requests
from moto.awslambda.policy import Policy as LambdaPolicy
from moto.batch.models import BatchBackend
from moto.budgets.responses import BudgetsResponse
from moto.core.resource_tagging import TaggedResource, make_tag_matcher
from moto.core.responses import ActionResult
from moto.ec2.models.launch_templates import LaunchTemplate
from moto.events.models import events_backends
from moto.iam.access_control import IAMPolicy
from moto.resourcegroupstaggingapi.models import ResourceGroupsTaggingAPIBackend
from moto.s3.models import FakeBucket

BATCH = "batch.amazonaws.com"
_ONE_ROLE = threading.Lock()
"""Two environments that are made at once get one role."""
MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
)
"""The kinds of manifests that are asked for where a client names none."""


class Repeated:
    """A WSGI application in front of moto's that answers a request which a client sends again, because it has lost the
    answer, as it was answered the first time. Clients send a name of the call (`amz-sdk-invocation-id`) along; what was
    refused the first time is tried anew. AWS remembers no such name: a call that is sent again meets what the first one
    left there."""

    KEPT = 500

    def __init__(self, application: Any, remembers: Callable[[], bool] = lambda: True):
        self._application = application
        self._remembers = remembers
        self._answers: dict[str, tuple[str, list[Any], bytes]] = {}
        self._going_on: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        call = environ.get("HTTP_AMZ_SDK_INVOCATION_ID")
        if not call or not self._remembers():
            return self._application(environ, start_response)
        with self._lock:
            going_on = self._going_on.setdefault(call, threading.Lock())
        with going_on:
            status, headers, body = self._answers.get(call) or self._answer(call, environ)
        start_response(status, headers)
        return [body]

    def _answer(self, call: str, environ: dict[str, Any]) -> tuple[str, list[Any], bytes]:
        begun: list[Any] = []
        body = b"".join(self._application(environ, lambda status, headers, *_: begun.extend((status, headers))))
        answer = begun[0], begun[1], body
        with self._lock:
            if answer[0].startswith("2"):
                self._answers[call] = answer
            for old in list(self._going_on)[: -self.KEPT]:
                self._answers.pop(old, None)
                self._going_on.pop(old)
        return answer


class OneAtATime:
    """A WSGI application in front of moto's that lets requests to DynamoDB in one by one: moto's tables are plain
    dictionaries, and a conditional write that races with another one would succeed twice."""

    def __init__(self, application: Any):
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if not environ.get("HTTP_X_AMZ_TARGET", "").startswith("DynamoDB_"):
            return self._application(environ, start_response)
        with self._lock:
            return list(self._application(environ, start_response))


def install_ecr(registry: str) -> None:
    """Let repositories and their images live in a real registry at this `host:port`."""
    stock_init = ecr_models.Repository.__init__
    stock_token = ecr_responses.ECRResponse.get_authorization_token

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        stock_init(self, *args, **kwargs)
        self.uri = f"{registry}/{self.name}"

    def get_authorization_token(self: Any) -> Any:
        answer: Any = stock_token(self)
        for entry in answer.result["authorizationData"]:
            entry["proxyEndpoint"] = f"http://{registry}"
        return answer

    def ask(method: str, response: Any, what: str, **more: Any) -> requests.Response:
        name = response._get_param("repositoryName")
        return requests.request(method, f"http://{registry}/v2/{name}/{what}", timeout=30, **more)

    def batch_get_image(self: Any) -> ActionResult:
        images = []
        for asked in self._get_param("imageIds"):
            kinds = {"Accept": ", ".join(self._get_param("acceptedMediaTypes") or MANIFESTS)}
            found = ask("GET", self, f"manifests/{asked['imageTag']}", headers=kinds)
            if found.ok:
                name = {"imageTag": asked["imageTag"], "imageDigest": found.headers["Docker-Content-Digest"]}
                kind = found.headers["Content-Type"]
                images.append({"imageId": name, "imageManifest": found.text, "imageManifestMediaType": kind})
        return ActionResult({"images": images, "failures": []})

    def put_image(self: Any) -> ActionResult:
        content, kind = self._get_param("imageManifest"), self._get_param("imageManifestMediaType")
        place = f"manifests/{self._get_param('imageTag')}"
        ask("PUT", self, place, data=content.encode(), headers={"Content-Type": kind}).raise_for_status()
        return ActionResult({"image": {"imageId": {"imageTag": self._get_param("imageTag")}}})

    def list_images(self: Any) -> ActionResult:
        found = ask("GET", self, "tags/list")
        tags = (found.json().get("tags") or []) if found.ok else []
        return ActionResult({"imageIds": [{"imageTag": tag} for tag in tags]})

    def batch_delete_image(self: Any) -> ActionResult:
        """Takes single tags away. The registry deletes a manifest with all its tags, so the others are put back."""
        kinds = {"Accept": ", ".join(MANIFESTS)}
        gone = [entry["imageTag"] for entry in self._get_param("imageIds") if "imageTag" in entry]
        for tag in gone:
            found = ask("GET", self, f"manifests/{tag}", headers=kinds)
            if not found.ok:
                continue
            digest = found.headers["Docker-Content-Digest"]
            tags = ask("GET", self, "tags/list").json().get("tags") or []
            heads = {
                each: ask("HEAD", self, f"manifests/{each}", headers=kinds).headers for each in tags if each != tag
            }
            same = [each for each, head in heads.items() if head.get("Docker-Content-Digest") == digest]
            ask("DELETE", self, f"manifests/{digest}").raise_for_status()
            for each in same:
                kind = {"Content-Type": found.headers["Content-Type"]}
                ask("PUT", self, f"manifests/{each}", data=found.content, headers=kind).raise_for_status()
        return ActionResult({"imageIds": [{"imageTag": tag} for tag in gone], "failures": []})

    for operation in (batch_get_image, put_image, list_images, batch_delete_image):
        setattr(ecr_responses.ECRResponse, operation.__name__, operation)
    ecr_models.Repository.__init__ = init
    ecr_responses.ECRResponse.get_authorization_token = get_authorization_token


def install_budgets() -> None:
    """Tags and subscribers of budgets, which Terraform reads back."""
    tags: dict[str, dict[str, str]] = {}
    stock_create = BudgetsResponse.create_budget

    def create_budget(self: Any) -> Any:
        answer = stock_create(self)
        account, name = self._get_param("AccountId"), self._get_param("Budget")["BudgetName"]
        given = {tag["Key"]: tag["Value"] for tag in self._get_param("ResourceTags") or []}
        tags[f"arn:aws:budgets::{account}:budget/{name}"] = given
        return answer

    def list_tags(self: Any) -> str:
        found = tags.get(self._get_param("ResourceARN"), {})
        return json.dumps({"ResourceTags": [{"Key": key, "Value": value} for key, value in found.items()]})

    def subscribers(self: Any) -> str:
        budget = self.backend.budgets[self._get_param("AccountId")][self._get_param("BudgetName")]
        asked = self._get_param("Notification")
        for notification in budget.notifications:
            same = notification.details["NotificationType"] == asked["NotificationType"]
            if same and float(notification.details["Threshold"]) == float(asked["Threshold"]):
                return json.dumps({"Subscribers": getattr(notification, "subscribers", None) or []})
        return json.dumps({"Subscribers": []})

    BudgetsResponse.create_budget = create_budget
    BudgetsResponse.list_tags_for_resource = list_tags  # type: ignore[attr-defined]
    BudgetsResponse.describe_subscribers_for_notification = subscribers  # type: ignore[attr-defined]


def install_tagging() -> None:
    """Let the tagging API list image repositories and rules of EventBridge, which stock moto leaves out."""

    stock_resources = ResourceGroupsTaggingAPIBackend._get_resources_generator

    def resources(self: Any, tag_filters: Any = None, **filters: Any) -> Iterator[TaggedResource]:
        yield from stock_resources(self, tag_filters=tag_filters, **filters)
        account, region, matches = self.account_id, self.region_name, make_tag_matcher(tag_filters)
        repositories, events = ecr_models.ecr_backends[account][region], events_backends[account][region]
        taggers = {repository.arn: repositories.tagger for repository in repositories.repositories.values()}
        taggers |= {rule.arn: events.tagger for bus in events.event_buses.values() for rule in bus.rules.values()}
        for arn, tagger in taggers.items():
            if matches(tags := tagger.get_tag_dict_for_resource(arn)):
                yield TaggedResource(arn, tags, "")

    ResourceGroupsTaggingAPIBackend._get_resources_generator = resources  # type: ignore[assignment]


def install_service_linked_role() -> None:
    """Compute environments without a role of their own get Batch's service-linked one, which AWS makes on first use."""
    stock_create = BatchBackend.create_compute_environment

    def create_compute_environment(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not kwargs.get("service_role"):
            kwargs["service_role"] = _service_linked_role(self.iam_backend)
        return stock_create(self, *args, **kwargs)

    BatchBackend.create_compute_environment = create_compute_environment


def install_url_permissions() -> None:
    """The conditions of function URLs in a function's own policy, which stock moto leaves as they were given
    (docs.aws.amazon.com/lambda/latest/dg/urls-auth.html)."""
    stock_decode = LambdaPolicy.decode_policy

    def decode(self: Any, given: dict[str, Any]) -> Any:
        auth, through = given.pop("FunctionUrlAuthType", None), given.pop("InvokedViaFunctionUrl", None)
        decoded = stock_decode(self, given)
        condition = {
            **({"StringEquals": {"lambda:FunctionUrlAuthType": auth}} if auth else {}),
            **({"Bool": {"lambda:InvokedViaFunctionUrl": "true"}} if through else {}),
        }
        for statement in decoded.statements if condition else ():
            statement["Condition"] = {**statement.get("Condition", {}), **condition}
        return decoded

    LambdaPolicy.decode_policy = decode  # type: ignore[assignment]


def install_launch_templates() -> None:
    """Tags of a launch template are its own: stock moto also takes them for tags of the hosts made from it."""
    stock_create = LaunchTemplate.create_version

    def create_version(self: Any, data: dict[str, Any], description: str) -> Any:
        kept = [entry for entry in data.get("TagSpecifications", []) if entry["ResourceType"] != "launch-template"]
        return stock_create(self, {**data, "TagSpecifications": kept}, description)

    LaunchTemplate.create_version = create_version


def install_bucket_policies() -> None:
    """Statements about unencrypted connections never hold: stock moto takes every statement as unconditional, and would
    refuse whatever a policy that demands TLS is put on."""

    def get_permission(self: Any, action: str, resource: str) -> Any:
        policy = json.loads(self.policy or '{"Statement": []}')
        demands = {"Bool": {"aws:SecureTransport": "false"}}
        policy["Statement"] = [entry for entry in policy["Statement"] if entry.get("Condition") != demands]
        return IAMPolicy(json.dumps(policy)).is_action_permitted(action, resource)

    FakeBucket.get_permission = get_permission


def _service_linked_role(iam: Any) -> str:
    with _ONE_ROLE:
        return _found_or_made(iam)


def _found_or_made(iam: Any) -> str:
    for role in iam.roles.values():
        if role.path == f"/aws-service-role/{BATCH}/":
            return str(role.arn)
    return str(iam.create_service_linked_role(BATCH, "", "").arn)
