"""What of this process's environment other programs get: named variables only, so that no key or token comes along."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

MACHINE = frozenset(
    """PATH HOME USER LOGNAME SHELL LANG LANGUAGE LC_ALL LC_CTYPE TZ TERM TMPDIR TEMP TMP SYSTEMROOT SYSTEMDRIVE WINDIR
    COMSPEC PATHEXT USERPROFILE USERNAME HOMEDRIVE HOMEPATH APPDATA LOCALAPPDATA PROGRAMDATA PROGRAMFILES
    PROGRAMFILES(X86) PROCESSOR_ARCHITECTURE NUMBER_OF_PROCESSORS HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy
    https_proxy no_proxy all_proxy SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE LD_LIBRARY_PATH
    DYLD_LIBRARY_PATH XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME XDG_RUNTIME_DIR""".split()  # noqa: SIM905
)
"""What any program may need from this machine; none of them holds a secret, but for a proxy's password."""
PYTHON = ("PYTHONPATH", "PYTHONHOME", "PYTHONUTF8", "PYTHONIOENCODING", "VIRTUAL_ENV")
PIP = (
    *(
        "PIP_",
        "CC",
        "CXX",
        "CPP",
        "AR",
        "LD",
        "FC",
        "CFLAGS",
        "CXXFLAGS",
        "CPPFLAGS",
        "LDFLAGS",
        "ARCHFLAGS",
        "SDKROOT",
    ),
    *("MACOSX_DEPLOYMENT_TARGET", "PKG_CONFIG_PATH", "CMAKE_", "CARGO_HOME", "RUSTUP_HOME", "JAVA_HOME", "CUDA_HOME"),
    *("SOURCE_DATE_EPOCH", "MAKEFLAGS"),
)
"""For pip (pip.pypa.io/en/stable/topics/configuration) and the compilers that it calls. Names that end with `_` begin
a family. An index's password in PIP_INDEX_URL comes along, as pip could not do without it."""
DOCKER = (
    *("DOCKER_", "BUILDX_", "BUILDKIT_", "SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS", "GNUPGHOME", "SOURCE_DATE_EPOCH"),
    *("AWS_", "GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_", "AZURE_"),
)
"""For the Docker command (docs.docker.com/reference/cli/docker) and the credential helpers that it calls for
registries. No instruction of a Dockerfile sees them."""
TERRAFORM = ("TF_", "AWS_", "GOOGLE_", "CLOUDSDK_", "ARM_", "SSH_AUTH_SOCK")
"""For Terraform (developer.hashicorp.com/terraform/cli/config/environment-variables) and its providers."""


def child_environment(environ: Mapping[str, str] = os.environ, extra: Iterable[str] = ()) -> dict[str, str]:
    """The variables of `MACHINE` and those of `extra`, where a name that ends with `_` stands for all that begin so."""
    names, families = MACHINE.union(extra), tuple(name for name in extra if name.endswith("_"))
    return {name: value for name, value in environ.items() if name in names or (families and name.startswith(families))}
