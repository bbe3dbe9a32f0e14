"""The names of the Docker SDK that `docker_engine` uses, and the only door to it.

The daemon's threads need the SDK at the same moment, when it starts. Two threads that enter one package by different
modules (`docker.errors` and `docker.context`) wait for each other; CPython then lets one of them go on with half a
module, and the run that it serves ends with an ImportError (docs.python.org/3/library/importlib.html: import locks are
held for each module). Behind one door the second thread waits until the first has loaded it all."""

from docker import APIClient
from docker.context import ContextAPI
from docker.context.config import get_current_context_name
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types import LogConfig, Mount
from docker.utils import kwargs_from_env, parse_host
from docker.utils.config import find_config_file
from requests.exceptions import ConnectionError as Disconnected
from requests.exceptions import RequestException, Timeout

__all__ = [
    "APIClient",
    "APIError",
    "ContextAPI",
    "Disconnected",
    "DockerException",
    "ImageNotFound",
    "LogConfig",
    "Mount",
    "NotFound",
    "RequestException",
    "Timeout",
    "find_config_file",
    "get_current_context_name",
    "kwargs_from_env",
    "parse_host",
]
