"""`make faults`: runs the matrix, prints it as a table, and writes docs/faults.md when every row is as it must be."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tests.faults.rows import ROWS
from tests.faults.table import DOCUMENT, document, table


def main(arguments: list[str]) -> int:
    """Run it; the arguments go to pytest. 0 when every row is as it must be."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        tests = "tests/faults/test_matrix.py"
        current = f"{tests}::test_the_document_is_current"
        command = [sys.executable, "-m", "pytest", tests, "-q", "--deselect", current, "--no-cov"]
        command += [f"--junit-xml={report}", *arguments]
        code = subprocess.run(command, check=False).returncode
        results = _results(report) if report.exists() else {}
    print(table(ROWS, results))
    if code == 0 and all(results.get(fault.name) == "ok" for fault in ROWS):
        DOCUMENT.write_text(document(ROWS), encoding="utf-8")
        print(f"\n{len(ROWS)} rows, all as they must be; written to {DOCUMENT.relative_to(Path.cwd())}.")
        return 0
    print(f"\n{sum(result == 'ok' for result in results.values())} of {len(ROWS)} rows are as they must be.")
    return code or 1


def _results(report: Path) -> dict[str, str]:
    """How each row went, its numerapi part included: ok, FAILED or skipped."""
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = (case.get("name") or "").partition("[")[2].removesuffix("]")
        if not name:
            continue
        kinds = {child.tag for child in case}
        result = "FAILED" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "ok"
        if found.get(name, "ok") == "ok":
            found[name] = result
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
