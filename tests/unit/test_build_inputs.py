"""What a Dockerfile wants of its build: keys, and files of the context."""

from __future__ import annotations

from pathlib import Path

import pytest
from numerai_compute.build_inputs import declared_keys, key_in_build, lacking

OFFICIAL = "FROM python:3.13\nARG NUMERAI_PUBLIC_ID\nENV NUMERAI_PUBLIC_ID=$NUMERAI_PUBLIC_ID\nARG NUMERAI_SECRET_KEY\n"
OFFICIAL += "ENV NUMERAI_SECRET_KEY=$NUMERAI_SECRET_KEY\nARG MODEL_ID\nENV MODEL_ID=$MODEL_ID\nARG SRC_PATH\n"
OFFICIAL += (
    "ENV SRC_PATH=$SRC_PATH\nADD $SRC_PATH/requirements.txt .\nRUN pip install -r requirements.txt\nADD $SRC_PATH .\n"
)


def test_keys_for_the_environment_alone_are_no_keys_in_the_build() -> None:
    assert declared_keys(OFFICIAL) == ["NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY"]
    assert declared_keys("FROM scratch\nARG MODEL_ID") == []
    assert key_in_build(OFFICIAL) is None


@pytest.mark.parametrize(
    "line",
    [
        "CMD python predict.py $NUMERAI_SECRET_KEY",
        "ENTRYPOINT exec python predict.py ${NUMERAI_SECRET_KEY}",
        "HEALTHCHECK CMD test -n $NUMERAI_SECRET_KEY",
        'ENV NUMERAI_SECRET_KEY="$NUMERAI_SECRET_KEY" MODEL=1',
        "ENV NUMERAI_SECRET_KEY ${NUMERAI_SECRET_KEY}",
        "RUN echo 'export KEY=$NUMERAI_SECRET_KEY' >> ~/.bashrc",
        "RUN echo \\$NUMERAI_SECRET_KEY >> ~/.bashrc",
        "RUN echo $NUMERAI_SECRET_KEY_FILE",
        "# RUN echo $NUMERAI_SECRET_KEY",
    ],
)
def test_what_only_the_container_reads_is_let_through(line: str) -> None:
    assert key_in_build(f"{OFFICIAL}{line}\n") is None


@pytest.mark.parametrize(
    "line",
    [
        'RUN curl -H "Authorization: Token $NUMERAI_PUBLIC_ID" https://api-tournament.numer.ai',
        "RUN KEY=${NUMERAI_SECRET_KEY} python train.py",
        "ENV KEY=$NUMERAI_SECRET_KEY",
        "ENV OTHER_NUMERAI_SECRET_KEY=$NUMERAI_SECRET_KEY",
        "LABEL key=${NUMERAI_SECRET_KEY:-none}",
        "ONBUILD RUN echo $NUMERAI_SECRET_KEY",
    ],
)
def test_a_key_that_the_build_would_have_to_know_is_found(line: str) -> None:
    found = key_in_build(f"{OFFICIAL}{line}\n")
    assert found is not None
    assert found[1].first == OFFICIAL.count("\n")
    assert key_in_build(f"FROM scratch\n{line}\n") is None, "no build argument: it is empty with the official tool, too"


def test_what_is_copied_and_not_there_is_named(tmp_path: Path) -> None:
    for name in ("alice/predict.py", "alice/requirements.txt", "common/x.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    shared = f"{OFFICIAL}ADD common common\n"
    assert lacking(OFFICIAL, tmp_path / "alice", ".") == lacking(shared, tmp_path, "alice") == []
    assert lacking(shared, tmp_path / "alice", ".") == ["common"]
    assert lacking(OFFICIAL, tmp_path, "bob") == ["bob/requirements.txt", "bob"]
    for line, names in {
        'COPY ["a b", "c/", "/d"]': ["a b", "c"],
        "COPY --chown=1:1 --chmod=644 a ../b /common /d": ["a", "b"],
        "COPY --from=other a /d": [],
        "COPY $UNKNOWN a* https://example.com/x git@github.com:x/y.git /d": [],
        "COPY <<END /d\nx\nEND": [],
        "COPY 'a": [],
        "ARG WHERE=alice\nCOPY ${WHERE}/predict.py $WHERE/none /d": ["alice/none"],
    }.items():
        assert lacking(f"FROM scratch\n{line}\n", tmp_path, ".") == names, line
