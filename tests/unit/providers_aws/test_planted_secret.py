"""A secret key, and the password of a notification address, on the way to AWS: only its Parameter Store gets them."""

from __future__ import annotations

import json
from pathlib import Path

from numerai_compute.errors import ProviderError
from numerai_compute.models import Keys

from tests.planted import ADDRESS_SECRET, SECRET, found_in, leaks

from .conftest import World, quiet
from .test_provider import secret


def test_neither_terraform_nor_the_home_nor_what_is_said_holds_a_secret(world: World, tmp_path: Path) -> None:
    said: list[str] = []
    world.keys = Keys("PUBLICID0123456789", SECRET, "http://127.0.0.1:9")
    world.urls = {"me": f"json://me:{ADDRESS_SECRET}@127.0.0.1:9/{ADDRESS_SECRET}"}
    node = world.provider.configure(world.node(), said.append)
    world.provider.deploy(node, force=False, report=said.append)
    held = secret(world)
    assert held["NUMERAI_SECRET_KEY"] == SECRET and ADDRESS_SECRET in held["NUMERAI_NOTIFY"]
    kinds = world.clients.client("ssm").describe_parameters()["Parameters"]
    assert {(kind["Type"], kind["Tier"]) for kind in kinds} == {("SecureString", "Standard")}
    world.terraform.fail = ProviderError("It failed half-way.")
    try:
        world.provider.configure(world.node("bob"), said.append)
    except ProviderError as error:
        said.append(f"{error} {error.hint}")
    packages = [
        Path(path) for given in world.terraform.applied for name, path in given.items() if "package_path" in name
    ]
    assert packages
    assert [path for path in packages if found_in(path.read_bytes())] == []
    assert found_in(json.dumps(world.terraform.applied).encode()) == []
    assert found_in("\n".join(said).encode()) == []
    assert leaks(tmp_path, (".keys", ".keys.previous")) == {}
    world.provider.destroy(node.name, force=True, report=quiet)
    assert leaks(tmp_path, (".keys", ".keys.previous")) == {}
