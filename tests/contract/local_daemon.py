"""A home folder of the local provider for tests, and (run as a program) the daemon that serves it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from numerai_compute.adapters.clock import SystemClock
from numerai_compute.adapters.docker_engine import DockerEngine
from numerai_compute.errors import NumeraiError
from numerai_compute.models import Keys
from numerai_compute.providers.local.daemon import run_daemon
from numerai_compute.providers.local.provider import LocalProvider
from numerai_compute.providers.registry import ProviderContext

SECRET = "s3cr3t/of-the+tests-0123456789"
KEYS = {"public_id": "PUBLICID0123456789ABCDEFGHIJ", "secret_key": SECRET, "api_url": "http://127.0.0.1:9/"}


@dataclass(frozen=True)
class LocalHome:
    """A home folder with its settings and keys in `test.json`, read anew by whoever uses it."""

    path: Path

    def write(self, settings: dict[str, str | int], keys: dict[str, str] | None) -> None:
        """Choose settings and keys."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "test.json").write_text(json.dumps({"settings": settings, "keys": keys}))

    def context(self) -> ProviderContext:
        """What the provider is made from."""
        content = json.loads((self.path / "test.json").read_text())
        engine = DockerEngine()
        return ProviderContext(
            home=self.path,
            settings=content["settings"],
            keys=self._keys,
            engine=lambda: engine,
            clock=SystemClock(),
        )

    def provider(self) -> LocalProvider:
        """The provider, whose `wake` starts this file as the daemon."""
        return LocalProvider(self.context(), daemon_command=self.daemon_command)

    @property
    def daemon_command(self) -> Sequence[str]:
        """Runs the daemon of this home in the foreground."""
        return (sys.executable, str(Path(__file__).resolve()))

    def _keys(self) -> Keys | None:
        keys = json.loads((self.path / "test.json").read_text())["keys"]
        return Keys(**keys) if keys else None


if __name__ == "__main__":
    try:
        run_daemon(LocalHome(Path(os.environ["NUMERAI_HOME"])).context(), report=lambda line: print(line, flush=True))
    except NumeraiError as failure:
        sys.exit(f"{failure.message} {failure.hint or ''}")
