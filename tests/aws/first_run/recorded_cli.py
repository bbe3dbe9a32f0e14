"""`python -m tests.aws.first_run.recorded_cli` is the command `numerai`; what AWS answers it is kept in a file."""

from __future__ import annotations

import os
from pathlib import Path

from numerai_compute.main import main
from numerai_compute.redaction import Redactor

from .recording import Recorder

ANSWERS, STEP = "FIRST_RUN_ANSWERS", "FIRST_RUN_STEP"
"""Name the file and the step that the answers belong to."""

if __name__ == "__main__":
    hide = Redactor([os.environ.get("NUMERAI_SECRET_KEY"), os.environ.get("NUMERAI_PUBLIC_ID")])
    with Recorder(Path(os.environ[ANSWERS]), lambda: os.environ[STEP], hide).installed():
        main()
