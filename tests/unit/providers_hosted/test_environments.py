"""What the rehearsal runs in: Numerai's own image where it can be had, else the versions that it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from numerai_compute.errors import EnvironmentNotReady, UsageError
from numerai_compute.ports import ContainerEngine
from numerai_compute.providers.hosted.environments import environment
from numerai_compute.providers.hosted.uploads import Image

OWN = "ghcr.io/numerai/numerai_predict_py_3_12:a78dedd"


class Engine:
    """Has no image, and builds any; `reachable` is whether the registry tells of Numerai's."""

    def __init__(self, *, reachable: bool):
        self.reachable = reachable
        self.built: list[str] = []

    def image_id(self, tag: str) -> str | None:
        return None

    def digest(self, image: str, platform: str | None = None) -> str:
        if not self.reachable:
            raise EnvironmentNotReady("no registry")
        return "sha256:0"

    def build(self, source: Any, tag: str, **_: Any) -> str:
        self.built.append((source.folder / "Dockerfile").read_text())
        return tag


@pytest.mark.parametrize("reachable", [True, False])
def test_it_is_numerais_own_image_where_its_registry_can_be_reached(tmp_path: Path, reachable: bool) -> None:
    engine = Engine(reachable=reachable)
    image, packages = Image("i", "3.12", OWN, default=True), ["cloudpickle", "lightgbm", "pandas"]
    made = environment(cast(ContainerEngine, engine), image, packages, tmp_path, lambda line: None)
    (text,) = engine.built
    assert "ENTRYPOINT []" in text
    if reachable:
        assert text.startswith(f"FROM {OWN}\n") and "pip" not in text and made.what == f"Numerai's own image {OWN}"
    else:
        assert text.startswith("FROM python:3.12-slim\n") and "libgomp1" in text
        assert "cloudpickle==3.1.1 lightgbm==4.5.0 pandas==2.3.1" in text
        assert made.what.startswith("python:3.12-slim with the versions that Numerai's image has")


def test_a_python_of_which_no_versions_are_known_is_refused(tmp_path: Path) -> None:
    image = Image("i", "3.14", None, default=True)
    with pytest.raises(UsageError, match=r"Numerai has on Python 3\.14") as refused:
        environment(cast(ContainerEngine, Engine(reachable=True)), image, ["numpy"], tmp_path, lambda line: None)
    assert refused.value.code == "wrong-python"
