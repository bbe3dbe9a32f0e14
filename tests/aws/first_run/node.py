"""The node of the first run: the example `shell-any-language`, whose script does what its trigger asks for."""

from __future__ import annotations

from pathlib import Path

LINES = 2000
SCRIPT = f"""#!/bin/sh
# What to do stands in the first word of TRIGGER_ID; a run by hand or by a schedule ends well at once.
case "${{TRIGGER_ID:-fine}}" in
    env-*)   for name in MODEL_ID TRIGGER_ID NUMERAI_NODE NUMERAI_TOURNAMENT NUMERAI_ARTIFACTS AWS_REGION; do
                 eval "echo $name=\\${{$name:-}}"
             done
             for name in NUMERAI_PUBLIC_ID NUMERAI_SECRET_KEY; do
                 eval "[ -n \\"\\${{$name:-}}\\" ]" && echo "$name is there"
             done
             id -u ;;
    lines-*) i=0; while [ $i -lt {LINES} ]; do i=$((i + 1)); echo "line $i of {LINES}"; done ;;
    keep-*)  python keep.py ;;
    again-*) if [ "${{AWS_BATCH_JOB_ATTEMPT:-1}}" = 1 ]; then echo "the first time"; exit 75; fi ;;
    bad-*)   echo "bad predictions"; exit 65 ;;
    big-*)   exec python -c 'bytearray(2 * 1024 ** 3)' ;;
    slow-*)  exec sleep 600 ;;
esac
"""
KEEP = '''"""Puts a file into the node's folder of the bucket and gets it back, as trained models go."""

import os
from pathlib import Path

from numerai_node.bucket import Bucket
from numerai_node.transport import Transport

bucket = Bucket(os.environ["NUMERAI_ARTIFACTS"], Transport())
Path("/tmp/there").write_text("kept")
bucket.put("first-run/kept.txt", Path("/tmp/there"))
bucket.get("first-run/kept.txt", Path("/tmp/back"))
print("got back:", Path("/tmp/back").read_text())
'''
COMMAND = 'CMD ["sh", "predict.sh"]\n'


def rewrite(folder: Path) -> None:
    """Let the example do what its trigger asks for, and nothing with Numerai."""
    (folder / "predict.sh").write_text(SCRIPT, encoding="utf-8", newline="\n")
    (folder / "keep.py").write_text(KEEP, encoding="utf-8", newline="\n")
    dockerfile = folder / "Dockerfile"
    lines = [line for line in dockerfile.read_text(encoding="utf-8").splitlines(True) if not line.startswith("CMD ")]
    dockerfile.write_text("".join(lines) + COMMAND, encoding="utf-8", newline="\n")
