"""Which arguments and attributes a version of hashicorp/aws has, for the resources that our root uses, as JSON.

    python -m tests.aws.provider_names cdktn_provider_aws-*.whl > tests/aws/provider6.json

PyPI's `cdktn-provider-aws` (MPL-2.0) holds bindings that `cdktn get` generated from the provider's real schema. Their
JavaScript carries its TypeScript source in source maps, where each argument stands with its name in Terraform. Only the
names are taken from it. The package is needed for this alone.
"""

from __future__ import annotations

import base64
import io
import json
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from tests.present import present

from .root_names import blocks_of

ALSO = ("aws_iam_service_linked_role", "aws_ssm_parameter")
"""What the root may come to use."""
_ENTRY = re.compile(r'^ {4,8}"?(\w+)"?: \{\n\s+value: (.*?),\n\s+isBlock: (true|false),$', re.MULTILINE | re.DOTALL)
_GIVEN = re.compile(r"^  // (\w+) - computed: true, optional: false, required: false$", re.MULTILINE)
_FUNCTION = re.compile(r"^export function (\w+)ToHclTerraform\(", re.MULTILINE)
_TOP = re.compile(r"^export class \w+ extends cdktn\.Terraform(Resource|DataSource) ", re.MULTILINE)
_MAP = re.compile(r"sourceMappingURL=data:application/json;base64,(\S+)")
_STRUCT = re.compile(r"\b(?<!\.)(\w+)ToHclTerraform")


def names(module: str) -> dict[str, Any]:
    """Of one type's source: what it `takes`, an argument -> None or what a block of it takes, and what it `gives`."""
    structs = {found[1]: module[found.end() :] for found in _FUNCTION.finditer(module)}

    def taken(text: str) -> dict[str, Any]:
        attributes = text[: text.index("// remove undefined attributes")]
        return {found[1]: inside(found[2]) if found[3] == "true" else None for found in _ENTRY.finditer(attributes)}

    def inside(value: str) -> dict[str, Any] | None:
        struct = _STRUCT.search(value)
        return taken(structs[struct[1]]) if struct else None

    top = module[present(_TOP.search(module)).start() :]
    return {"takes": taken(top[top.index("synthesizeHclAttributes()") :]), "gives": sorted(set(_GIVEN.findall(top)))}


def derived(wheel: Path, wanted: set[tuple[str, str]]) -> dict[str, Any]:
    """The names of the wanted (`resource` or `data`, type), and where they come from."""
    folders = {_folder(*each): each for each in wanted}
    found: dict[str, Any] = {"resource": {}, "data": {}}
    with zipfile.ZipFile(wheel) as archive:
        (inner,) = (name for name in archive.namelist() if name.endswith(".jsii.tgz"))
        content = archive.read(inner)
    version, sources = "", dict.fromkeys(folders, "")
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            _, *parts = member.name.split("/")
            if parts == ["package.json"]:
                version = json.load(present(archive.extractfile(member)))["cdktn"]["provider"]["version"]
            elif parts[0] == "lib" and parts[1] in folders and member.name.endswith(".js"):
                mapped = _MAP.search(present(archive.extractfile(member)).read().decode())
                original = json.loads(base64.b64decode(mapped[1]))["sourcesContent"] if mapped else ()
                sources[parts[1]] += "\n".join(original)
    for folder, (kind, type_) in folders.items():
        found[kind][type_] = names(sources[folder])
    source = f"{wheel.name} of pypi.org/project/cdktn-provider-aws, MPL-2.0: names only"
    return {"version": version, "source": source, **found}


def _folder(kind: str, type_: str) -> str:
    return ("data-aws-" if kind == "data" else "") + type_.removeprefix("aws_").replace("_", "-")


def _lines(document: dict[str, Any]) -> str:
    """The document as JSON, a line for each type."""
    parts = [f"{json.dumps(name)}: {json.dumps(document[name])}" for name in ("version", "source")]
    for kind in ("resource", "data"):
        types = (f" {json.dumps(type_)}: {json.dumps(held)}" for type_, held in sorted(document[kind].items()))
        parts.append(f'"{kind}": {{\n' + ",\n".join(types) + "\n}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    used = {(kind, type_) for kind, type_, _ in blocks_of()} | {("resource", each) for each in ALSO}
    sys.stdout.write(_lines(derived(Path(sys.argv[1]), used)))
