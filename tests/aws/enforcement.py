"""IAM in front of moto: every signed request is read and written down with what IAM says of it, and once the
enforcement is on, what IAM would refuse is refused in AWS's own words.

Who asks is known by the access key: that of a role (`access_keys.py`), one that moto made for a user, or `USER`, whom
nothing is refused, but whose requests are judged afterwards (`judging.py`).
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import boto3
import requests
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends
from moto.iam.responses import IamResponse
from werkzeug.wrappers import Response

from .access_keys import OBSERVER, ROLE, USER, role_key
from .actions import asks
from .calls import Call, Unreadable, read_call
from .iam import Ask, Decision, Policy, access_denied, decide

DOOR = "/_iam"
ON = threading.Event()
"""Whether what IAM does not allow is refused in this process."""


class Account:
    """What IAM looks up of the emulated account."""

    account = DEFAULT_ACCOUNT_ID

    @property
    def _iam(self) -> Any:
        return iam_backends[self.account]["aws"]

    def _role(self, name: str) -> Any:
        return next((role for role in self._iam.roles.values() if role.name == name), None)

    def role_arn(self, name: str) -> str:
        role = self._role(name)
        return str(role.arn) if role else f"arn:aws:iam::{self.account}:role/{name}"

    def boundary(self, role: str) -> str | None:
        found = self._role(role)
        return found.permissions_boundary_arn if found else None

    def profile_role(self, profile: str) -> str:
        found = self._iam.get_instance_profile(profile)
        return str(found.roles[0].name)

    def associated(self, association: str) -> Sequence[str]:
        tables = [table for backend in ec2_backends[self.account].values() for table in backend.route_tables.values()]
        found = next(table for table in tables if association in table._associations)
        return [found.id, found._associations[association]]

    def tags(self, arn: str) -> Mapping[str, str]:
        """Tags of what EC2 and IAM have: no policy here asks for those of others."""
        if arn == "*":
            return {}
        _, _, service, region, _, what = arn.split(":", 5)
        kind, name = what.partition("/")[0], what.rpartition("/")[2]
        if service == "ec2":
            return dict(ec2_backends[self.account][region].tags.get(name, {}))
        role = self._role(name) if (service, kind) == ("iam", "role") else None
        return {tag["Key"]: tag["Value"] for tag in role.tags} if role else {}

    def principal(self, key: str) -> tuple[str, list[Policy], Policy | None] | None:
        """Who asks by this key: the ARN, the policies, the boundary. None for somebody who is not judged here."""
        if key.startswith(ROLE):
            role = self._role(key.removeprefix(ROLE))
            if role is None:  # it went with its node, whose container is being ended
                return None
            policies = [*role.policies.values(), *(_document(one) for one in role.managed_policies.values())]
            arn = f"arn:aws:sts::{self.account}:assumed-role/{key.removeprefix(ROLE)}/emulated"
            limit = role.permissions_boundary_arn
        else:
            user = self._iam.get_user_from_access_key_id(key)
            if user is None:
                return None
            policies = [*user.policies.values(), *(_document(one) for one in user.managed_policies.values())]
            arn, limit = str(user.arn), None
        return arn, [json.loads(policy) for policy in policies], self._limit(limit)

    def _limit(self, arn: str | None) -> Policy | None:
        """A managed policy; one that there is not allows nothing."""
        if arn is None:
            return None
        found = self._iam.managed_policies.get(arn)
        return json.loads(_document(found)) if found else {"Version": "2012-10-17", "Statement": []}


def _document(policy: Any) -> str:
    """The text of a managed policy's default version."""
    return str(next(version.document for version in policy.versions if version.is_default))


ACCOUNT = Account()


def refused(role: str, action: str, resource: str, **context: str) -> str | None:
    """Why a role may not do what AWS does on its behalf, in AWS's words; None where it may, or nothing is enforced."""
    if not ON.is_set():
        return None
    who = ACCOUNT.principal(role_key(role))
    if who is None:
        return f"{role} is not there"
    ask = Ask(action, resource, context)
    said = decide(ask, who[1], who[2])
    return None if said.allowed else access_denied(who[0], ask, said.why)


class Gate:
    """A WSGI application in front of the emulated AWS. `record` is a file that gets a line of JSON for each request."""

    def __init__(self, application: Any, record: Path):
        self._application = application
        self._record = record
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == DOOR:
            return self._door(environ)(environ, start_response)
        if "Credential=" not in environ.get("HTTP_AUTHORIZATION", ""):
            return self._application(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        answer = self._judge(environ, body)
        return (answer or self._application)(environ, start_response)

    def _door(self, environ: dict[str, Any]) -> Response:
        """Switches the enforcement on or off."""
        wanted = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
        (ON.set if wanted["on"] else ON.clear)()
        return Response(json.dumps({"on": ON.is_set()}), content_type="application/json")

    def _judge(self, environ: dict[str, Any], body: bytes) -> Response | None:
        """The refusal of a request; None where it may pass."""
        try:
            call = read_call(environ, body)
            if call is None or call.key == OBSERVER:
                return None
            asked = asks(call, ACCOUNT)
        except (Unreadable, NotImplementedError) as error:
            self._write({"problem": str(error)})
            return None
        who = ACCOUNT.principal(call.key)
        if who is None and call.key != USER:
            return None
        said = [(ask, decide(_as(ask, who), who[1], who[2])) if who else (ask, Decision(True)) for ask in asked]
        self._write(_line(call, said))
        for ask, decision in said:
            if ON.is_set() and who and not decision.allowed and call.operation != "GetCallerIdentity":
                return _refusal(call, environ, access_denied(who[0], ask, decision.why))
        return None

    def _write(self, line: Mapping[str, Any]) -> None:
        with self._lock, self._record.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _as(ask: Ask, who: tuple[str, list[Policy], Policy | None] | None) -> Ask:
    """With the keys of who asks."""
    assert who is not None
    name = who[0].split("/")[1]
    tags = ACCOUNT.tags(f"arn:aws:iam::{ACCOUNT.account}:role/{name}") if ":assumed-role/" in who[0] else {}
    keys = {f"aws:PrincipalTag/{key}": value for key, value in tags.items()}
    return Ask(ask.action, ask.resource, {"aws:PrincipalArn": who[0], **keys, **ask.context})


def _line(call: Call, said: Sequence[tuple[Ask, Decision]]) -> Mapping[str, Any]:
    return {
        "key": call.key,
        "operation": f"{call.service}:{call.operation}",
        "complaints": call.complaints,
        "asks": [
            {
                "action": ask.action,
                "resource": ask.resource,
                "context": dict(ask.context),
                "allowed": decision.allowed,
                "statements": list(decision.statements),
            }
            for ask, decision in said
        ],
    }


def _refusal(call: Call, environ: Mapping[str, Any], message: str) -> Response:
    """AccessDenied in the form of the protocol that was asked in (smithy.io/2.0/aws/protocols), with the codes of each
    service's API reference."""
    if call.service == "ec2":
        text = escape(f"You are not authorized to perform this operation. {message}")
        error = f"<Error><Code>UnauthorizedOperation</Code><Message>{text}</Message></Error>"
        return Response(f"<Response><Errors>{error}</Errors></Response>", 403, content_type="text/xml")
    error = f"<Error><Code>AccessDenied</Code><Message>{escape(message)}</Message></Error>"
    if call.service == "s3":
        return Response("" if environ["REQUEST_METHOD"] == "HEAD" else error, 403, content_type="application/xml")
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        return Response(f"<ErrorResponse>{error}</ErrorResponse>", 403, content_type="text/xml")
    if environ.get("HTTP_X_AMZ_TARGET"):
        body = json.dumps({"__type": "AccessDeniedException", "message": message})
        return Response(body, 400, content_type="application/x-amz-json-1.1")
    headers = {"X-Amzn-ErrorType": "AccessDeniedException"}
    return Response(json.dumps({"message": message}), 403, headers, content_type="application/json")


def install_simulator() -> None:
    """IAM's simulator, which stock moto lacks, over what a user or a role has."""

    def simulate_principal_policy(self: Any) -> ActionResult:
        source, asked = str(self._get_param("PolicySourceArn")), self._get_param
        kind, name = source.rpartition(":")[2].split("/")[0], source.rpartition("/")[2]
        keys = [key.access_key_id for key in self.backend.users[name].access_keys] if name in self.backend.users else []
        who = ACCOUNT.principal(role_key(name)) if kind == "role" else next(map(ACCOUNT.principal, keys), None)
        if who is None:
            raise NotFoundException(f"Principal with ARN {source} could not be found.")
        context = {entry["ContextKeyName"]: entry["ContextKeyValues"] for entry in asked("ContextEntries") or []}
        results = []
        for action in asked("ActionNames"):
            for resource in asked("ResourceArns") or ["*"]:
                decision = decide(Ask(action, resource, context), who[1], who[2])
                word = "allowed" if decision.allowed else "explicitDeny" if decision.statements else "implicitDeny"
                results.append({"EvalActionName": action, "EvalResourceName": resource, "EvalDecision": word})
        return ActionResult({"EvaluationResults": results, "IsTruncated": False})

    IamResponse.simulate_principal_policy = simulate_principal_policy  # type: ignore[attr-defined]


class Enforcement:
    """The enforcement of a running emulator, from outside."""

    def __init__(self, url: str):
        self._url = url

    def on(self, policy: Policy, name: str = "numerai") -> Mapping[str, str]:
        """Refuse from now on what IAM would; returns the variables of a user who has this policy, which is made as the
        managed policy of that name, and nothing else."""
        iam = boto3.client(
            "iam", "us-east-1", endpoint_url=self._url, aws_access_key_id=OBSERVER, aws_secret_access_key=OBSERVER
        )
        with suppress(iam.exceptions.EntityAlreadyExistsException):
            iam.create_user(UserName=name)
        made = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(policy))["Policy"]["Arn"]
        iam.attach_user_policy(UserName=name, PolicyArn=made)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self._switch(on=True)
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def off(self) -> None:
        """Refuse nothing any more."""
        self._switch(on=False)

    def _switch(self, *, on: bool) -> None:
        requests.post(self._url + DOOR, json={"on": on}, timeout=30).raise_for_status()
