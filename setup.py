"""Packaging of `numerai-compute`: the command `numerai`, the node templates and the Terraform roots."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "cli" / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
assert VERSION

PACKAGE = "numerai_compute"
SOURCES = {PACKAGE: "cli", f"{PACKAGE}.node_template": "node_template", f"{PACKAGE}.terraform": "terraform"}

# What the sandbox computes with; numerai-tools 0.5 and later need Python 3.11.
DATA = [
    "numpy>=1.26,<3",
    "pandas>=2.2,<4",
    "pyarrow>=16,<27",
    "numerai-tools>=0.4.3,<0.8",
]
SANDBOX = [*DATA, "graphql-core>=3.2.6,<3.4"]
MODELS = [
    *DATA,
    "lightgbm>=4.5,<5",
    "scipy>=1.11,<2",
    "jinja2>=3.1,<4",
    "matplotlib>=3.9,<4",
    "tomli>=2,<3; python_version < '3.11'",
]
AWS = ["boto3>=1.40.50,<2"]  # the first whose add_permission knows InvokedViaFunctionUrl
TEST = [
    "pytest>=8.3,<10",
    "pytest-xdist>=3.6,<4",
    "pytest-cov>=6,<8",
    "coverage>=7.10,<8",
    "hypothesis>=6.112,<7",
    "numerapi>=3.1.1,<3.2",
    "setuptools>=77",
    "moto[batch,awslambda,dynamodb,s3]>=5.2.1,<5.3",
    "flask-cors>=4,<7",
    "aiosmtpd>=1.4.6,<2",
    "scikit-learn>=1.5,<2",
    "cloudpickle>=3,<4",
]
LINT = [
    "ruff>=0.15,<0.18",
    "mypy>=1.18,<3",
    "import-linter>=2.6,<3",
    "pre-commit>=4,<5",
    "types-requests>=2.31",
    "types-psutil>=6",
    "pandas-stubs>=2.2",
]


def packages() -> list[str]:
    """All packages, under the names they are installed as."""
    found = []
    for name, folder in SOURCES.items():
        found.append(name)
        found += [f"{name}.{package}" for package in find_packages(folder)]
    return found


setup(
    name="numerai-compute",
    version=VERSION[1],
    description="Run your Numerai models in production and never miss a round",
    long_description=(HERE / "README.md").read_text(encoding="utf-8") if (HERE / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    package_dir=SOURCES,
    packages=packages(),
    include_package_data=False,
    package_data={
        PACKAGE: ["py.typed"],
        f"{PACKAGE}.modelling": ["templates/*"],
        f"{PACKAGE}.sandbox": ["*.graphql"],
        f"{PACKAGE}.node_template": ["**/*", "**/.dockerignore"],
        f"{PACKAGE}.terraform": ["**/*.tf", "**/.terraform.lock.hcl", "**/*.py", "**/*.md"],
    },
    install_requires=[
        "click>=8.1.8,<9",
        "rich>=13.7,<16",
        "requests>=2.32,<3",
        "urllib3>=1.26,<3",
        "docker>=7.1,<8",
        "filelock>=3.16,<5",
        "msgspec>=0.19,<1",
        "flask>=3,<4",
        "werkzeug>=3,<4",
        "waitress>=3,<4",
        "psutil>=6,<8",
        "cronsim>=2.6,<3",
        "apprise>=1.9,<3",
    ],
    extras_require={
        "sandbox": SANDBOX,
        "models": MODELS,
        "aws": AWS,
        "dev": [*SANDBOX, *MODELS, *AWS, *TEST, *LINT],
    },
    entry_points={
        "console_scripts": ["numerai=numerai_compute.main:main"],
        "numerai_compute.providers": [
            f"{name}={PACKAGE}.providers.{name}.provider:create" for name in ("aws", "hosted", "local")
        ],
    },
    classifiers=[
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: MIT License",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
    ],
)
