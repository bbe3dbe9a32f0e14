"""What the rehearsal runs in: Numerai's own image where it can be had, else the versions that it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from numerai_compute.errors import EnvironmentNotReady, ProviderError, UsageError
from numerai_compute.ports import ContainerEngine
from numerai_compute.providers.hosted.environments import environment
from numerai_compute.providers.hosted.uploads import Image

OWN = "ghcr.io/numerai/numerai_predict_py_3_12:a78dedd"


class Engine:
    """Has no image, and builds any; `reachable` is whether the registry tells of Numerai's."""

    def __init__(self, *, reachable: bool):
        self.reachable = reachable
        self.built: list[str] = []
        self.there: dict[str, list[str]] = {}
        self.used: set[str] = set()

    def image_id(self, tag: str) -> str | None:
        return tag if tag in self.there else None

    def images(self, label: str) -> dict[str, list[str]]:
        assert label == "numerai.hosted"
        return dict(self.there)

    def remove_image(self, image: str) -> None:
        if image in self.used:
            raise ProviderError("a container uses it")
        del self.there[image]

    def digest(self, image: str, platform: str | None = None) -> str:
        if not self.reachable:
            raise EnvironmentNotReady("no registry")
        return "sha256:0"

    def build(self, source: Any, tag: str, **_: Any) -> str:
        self.built.append((source.folder / "Dockerfile").read_text())
        self.there = {tag: [tag], **self.there}
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


def test_of_its_images_the_latest_three_stay_and_those_that_are_used(tmp_path: Path) -> None:
    engine = Engine(reachable=False)
    engine.there = {name: [f"numerai-hosted:{name}"] for name in ("d", "c", "used", "a")}  # newest first
    engine.used = {"used"}
    image = Image("i", "3.12", None, default=True)
    for number, packages in enumerate((["numpy"], ["numpy"], ["pandas"]), start=1):
        made = environment(cast(ContainerEngine, engine), image, packages, tmp_path, lambda line: None)
        if number == 1:
            assert list(engine.there) == [made.image, "d", "c", "used"]
    assert len(engine.built) == 2 and next(iter(engine.there)) == made.image
    assert list(engine.there)[2:] == ["d", "used"]
