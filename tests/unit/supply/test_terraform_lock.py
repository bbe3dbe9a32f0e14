"""The lock file of the Terraform root: one provider, in the version that the root allows, for every platform."""

from __future__ import annotations

import base64
import re
from pathlib import Path

ROOT = Path(__file__).parents[3] / "terraform" / "aws"
PLATFORMS = 5
"""Those that docs/aws.md has `terraform providers lock` fetch; the release itself has 14 zips and a manifest."""


def test_it_holds_the_one_provider_for_every_platform() -> None:
    text = (ROOT / ".terraform.lock.hcl").read_text(encoding="utf-8")
    wanted = dict(re.findall(r'source\s*=\s*"([^"]+)"\s*version\s*=\s*"([^"]+)"', (ROOT / "versions.tf").read_text()))
    blocks = re.findall(r'^provider "registry\.terraform\.io/([^"]+)" {\n(.*?)^}', text, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in blocks] == list(wanted) == ["hashicorp/aws"]
    values = dict(re.findall(r'^  (version|constraints)\s*= "([^"]+)"', blocks[0][1], re.MULTILINE))
    assert values["constraints"] == wanted["hashicorp/aws"], "terraform init would write the file anew"
    lowest = [int(part) for part in wanted["hashicorp/aws"].removeprefix("~> ").split(".")]
    version = [int(part) for part in values["version"].split(".")]
    assert version[0] == lowest[0] and version >= lowest
    hashes = re.findall(r'^    "(h1|zh):([^"]+)",$', blocks[0][1], re.MULTILINE)
    assert len(set(hashes)) == len(hashes)
    unpacked = [base64.b64decode(value, validate=True) for kind, value in hashes if kind == "h1"]
    assert len(unpacked) >= PLATFORMS and {len(value) for value in unpacked} == {32}
    zipped = [bytes.fromhex(value) for kind, value in hashes if kind == "zh"]
    assert len(zipped) > PLATFORMS and {len(value) for value in zipped} == {32}
