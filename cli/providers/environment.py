"""The environment contract of a node's container, the same on every provider."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from ..addresses import HOST_FROM_CONTAINER, is_loopback
from ..models import NUMERAI_API_URL, Keys, Node

NO_SUBMIT_VARIABLE = "NUMERAI_NO_SUBMIT"
"""Makes numerai_node 0.2.1 and later end where it would submit."""
TRAIN_VARIABLE = "NUMERAI_TRAIN"
"""Makes numerai_node train the model, and nothing else."""


def container_url(url: str) -> str:
    """The address under which a container reaches what this machine knows as `url`: loopback becomes the host."""
    if not is_loopback(url):
        return url
    parts = urlsplit(url)
    netloc = HOST_FROM_CONTAINER if parts.port is None else f"{HOST_FROM_CONTAINER}:{parts.port}"
    return urlunsplit(parts._replace(netloc=netloc))


def container_environment(
    node: Node,
    keys: Keys,
    run_id: str,
    trigger_id: str | None,
    artifacts: str,
    *,
    in_container: bool,
    cache: str | None = None,
    submits: bool = True,
    trains: bool = False,
) -> dict[str, str]:
    """What a run of the node finds in its environment.

    `artifacts` is the folder or prefix where trained models live and `cache` the folder for downloads, both as the
    run sees them. `TRIGGER_ID` is absent when no trigger of Numerai started the run, `NUMERAI_API_URL` where the keys
    belong to Numerai's own API, `NUMERAI_DATA_VERSION` where the node names no data version,
    `NUMERAI_RETRAIN_DAYS` where its model is not trained again. `NUMERAI_NO_SUBMIT` is there without `submits` only,
    `NUMERAI_TRAIN` with `trains`. With `in_container` a loopback address is rewritten to the host's.
    """
    environment = {
        "NUMERAI_PUBLIC_ID": keys.public_id,
        "NUMERAI_SECRET_KEY": keys.secret_key,
        "MODEL_ID": node.model_id,
        "NUMERAI_NODE": node.name,
        "NUMERAI_TOURNAMENT": str(int(node.tournament)),
        "NUMERAI_RUN_ID": run_id,
        "NUMERAI_ARTIFACTS": artifacts,
        "NUMERAI_CPU": f"{node.cpu:g}",
        "NUMERAI_TIMEOUT_MINUTES": f"{node.timeout_minutes:g}",
    }
    if node.retrain_days is not None:
        environment["NUMERAI_RETRAIN_DAYS"] = str(node.retrain_days)
    if node.data_version is not None:
        environment["NUMERAI_DATA_VERSION"] = node.data_version
    if not submits:
        environment[NO_SUBMIT_VARIABLE] = "1"
    if trains:
        environment[TRAIN_VARIABLE] = "1"
    if trigger_id is not None:
        environment["TRIGGER_ID"] = trigger_id
    if cache is not None:
        environment["NUMERAI_CACHE"] = cache
    if keys.api_url.rstrip("/") != NUMERAI_API_URL:
        environment["NUMERAI_API_URL"] = container_url(keys.api_url) if in_container else keys.api_url
    return environment
