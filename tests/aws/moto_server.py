"""The emulated AWS as a process: moto with what it lacks, announced by one line of JSON on standard output."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from . import moto_batch, moto_gaps, moto_lambda


class Requests(MotoRequestHandler):
    """Logs requests to AWS, but not calls of webhooks, whose addresses hold their tokens."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """One line for a request."""
        if not self.path.startswith("/_url/"):
            super().log_request(code, size)


def main() -> None:
    """Serve until SIGTERM or Ctrl-C, then remove every container that was started."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lambda-image", required=True)
    parser.add_argument("--registry", required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()

    containers = moto_lambda.Containers(options.lambda_image, options.label)
    moto_lambda.install(containers)
    moto_batch.install(moto_batch.Jobs(options.label, options.registry))
    moto_gaps.install_ecr(options.registry)
    moto_gaps.install_bucket_policies()
    moto_gaps.install_budgets()
    moto_gaps.install_launch_templates()
    moto_gaps.install_service_linked_role()
    moto_gaps.install_tagging()
    stock = moto_gaps.Repeated(moto_gaps.OneAtATime(DomainDispatcherApplication(create_backend_app)))
    application = moto_lambda.FunctionUrls(stock, containers, DEFAULT_ACCOUNT_ID)
    # All interfaces: the containers of functions and jobs call back through the bridge.
    server = make_server("0.0.0.0", options.port, application, threaded=True, request_handler=Requests)
    os.environ["MOTO_PORT"] = str(server.server_port)

    def stop(*_: object) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{server.server_port}"}) + "\n")
    sys.stdout.flush()
    try:
        server.serve_forever()
    finally:
        containers.close()


if __name__ == "__main__":
    main()
