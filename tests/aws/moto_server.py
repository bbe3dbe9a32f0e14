"""The emulated AWS as a process: moto with what it lacks, announced by one line of JSON on standard output."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from numerai_compute.adapters.docker_engine import DockerEngine
from numerai_compute.sandbox.command import AUTO, listening_hosts
from numerai_compute.sandbox.http.hosts import is_own_name
from numerai_compute.signals import ending_signals
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.wrappers import Response

from . import delivery, enforcement, hostile, moto_batch, moto_gaps, moto_lambda
from .access_keys import role_key
from .emulator import REGION
from .hostile import World
from .hostile_containers import HostileJobs, MeasuredContainers
from .hostile_requests import in_front


class Requests(MotoRequestHandler):
    """Logs requests to AWS, but not calls of webhooks, whose addresses hold their tokens."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """One line for a request."""
        if not self.path.startswith("/_url/"):
            super().log_request(code, size)


class OwnNames:
    """A WSGI application in front of another one that refuses requests for names of others, as the sandbox does."""

    def __init__(self, application: Any):
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        known = is_own_name(environ.get("HTTP_HOST", ""))
        refused = Response("This is no name of the emulator: ask localhost or its address.\n", 403)
        return (self._application if known else refused)(environ, start_response)


def listen(hosts: Sequence[str], port: int, application: Any) -> list[BaseWSGIServer]:
    """A server for each address, all on one port."""
    servers: list[BaseWSGIServer] = []
    for host in hosts:
        servers.append(make_server(host, port, application, threaded=True, request_handler=Requests))
        port = servers[-1].server_port
    return servers


def application(world: World, containers: moto_lambda.Containers, ways: delivery.Delivery, record: Path) -> Any:
    """The emulated AWS, in front of moto, which everything is installed into already."""
    stock = moto_gaps.OneAtATime(DomainDispatcherApplication(create_backend_app))
    served = moto_gaps.Repeated(stock, lambda: world.remembers)
    gate = enforcement.Gate(served, record)
    with_urls = moto_lambda.FunctionUrls(gate, containers, DEFAULT_ACCOUNT_ID)
    return OwnNames(in_front(with_urls, world, ways.advanced))


def client(service: str, role: str) -> Any:
    """A client of this emulator, for what AWS does on behalf of a role; its ARN is the name of the key."""
    url = f"http://127.0.0.1:{os.environ['MOTO_PORT']}"
    return boto3.client(
        service, REGION, endpoint_url=url, aws_access_key_id=role_key(role), aws_secret_access_key="role"
    )


def main() -> None:
    """Serve until SIGTERM or Ctrl-C, then remove every container that was started."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lambda-image", required=True)
    parser.add_argument("--registry", required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--record", type=Path, default=Path(os.devnull))
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--hostile", action="store_true", help="turn every mode of hostile.py on")
    parser.add_argument("--modes", type=json.loads, default={}, help="modes of hostile.py, as a JSON object")
    options = parser.parse_args()

    world = World.hostile() if options.hostile else World()
    world.change(options.modes)
    ways = delivery.Delivery(world, REGION, client)
    containers = MeasuredContainers(options.lambda_image, options.label, ways)
    moto_lambda.install(containers)
    moto_batch.install(HostileJobs(options.label, options.registry, world))
    moto_gaps.install_ecr(options.registry)
    moto_gaps.install_bucket_policies()
    moto_gaps.install_budgets()
    moto_gaps.install_launch_templates()
    moto_gaps.install_service_linked_role()
    moto_gaps.install_tagging()
    moto_gaps.install_url_permissions()
    enforcement.install_simulator()
    hostile.install(world, ExitStack())
    delivery.install(ways, ExitStack())
    # Nobody is asked who they are, so only this machine is served: itself and its containers, through the bridge.
    hosts = listening_hosts([AUTO], DockerEngine)
    servers = listen(hosts, options.port, application(world, containers, ways, options.record))
    os.environ["MOTO_PORT"] = str(servers[0].server_port)
    for server in servers:
        threading.Thread(target=server.serve_forever).start()
    stopped = threading.Event()
    with ending_signals(stopped):
        sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{servers[0].server_port}"}) + "\n")
        sys.stdout.flush()
        stopped.wait()
    for server in servers:
        server.shutdown()
    containers.close()


if __name__ == "__main__":
    main()
