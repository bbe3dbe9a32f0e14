"""Every command and option of the command lines that this tool takes the place of, beside its own.

numerai-cli 1.1.7 and numerapi 3.1.1 as their packages on PyPI define them (`numerai/cli/`, `numerapi/cli.py`);
numerauto 0.3.1 and the LightGBM pipeline have no commands of their own, only modules that are run.
"""

from __future__ import annotations

from dataclasses import dataclass

SAME, OTHER, REFUSED, LATER = "same", "other way", "refused", "missing"


@dataclass(frozen=True)
class Row:
    """A command, or a command with one option, of `tool`; `ours` is what does it here, `note` how, or why nothing does.

    `ours` begins with a command of this tool, and names an option of it after a blank, where it is one."""

    tool: str
    theirs: str
    state: str
    ours: str = ""
    note: str = ""


def _cli(theirs: str, state: str = SAME, ours: str | None = None, note: str = "") -> Row:
    return Row("numerai-cli", theirs, state, theirs if ours is None else ours, note)


def _napi(theirs: str, state: str, ours: str = "", note: str = "") -> Row:
    return Row("numerapi", theirs, state, ours, note)


_NO_CLOUD = "one cloud so far; a node of another provider is kept by `upgrade`, and moved or forgotten"
_MONEY = "moves or shows money; a tool that holds keys day and night must not be able to. numerapi does it"
_PEOPLE = "about other people's models; numerapi does it with the same keys"
_TOURNAMENT = "by its number or its name"

ROWS = (
    _cli("setup"),
    _cli("setup --provider", note=f"local, aws, hosted and plug-ins; {_NO_CLOUD}"),
    _cli("setup --skip-key-setup"),
    _cli("setup --verbose"),
    _cli("node"),
    _cli("node --verbose", OTHER, "node config --verbose", "stands behind the subcommand"),
    _cli("node --model-name", SAME, "node config --model-name", "before the subcommand or behind it"),
    _cli("node --tournament", SAME, "node config --tournament", _TOURNAMENT),
    _cli("node config"),
    _cli("node config --verbose"),
    _cli("node config --provider", note=_NO_CLOUD),
    _cli("node config --size", note="the same names and figures"),
    _cli("node config --cpu", note="whole cores, fractions, or 1024ths from 256 on"),
    _cli("node config --memory", note="GB as there, or MiB"),
    _cli("node config --path"),
    _cli("node config --example"),
    _cli("node config --cron", note="five fields, or AWS's six; Azure's seconds are dropped by `upgrade`"),
    _cli("node config --timeout-minutes", note="on every provider"),
    _cli("node config --register-webhook"),
    _cli("node deploy"),
    _cli("node deploy --verbose"),
    _cli("node destroy"),
    _cli("node destroy --preserve-node-config"),
    _cli("node destroy --verbose"),
    _cli("node test"),
    _cli("node test --local"),
    _cli("node test --command"),
    _cli("node test --verbose"),
    _cli("node status"),
    _cli("node status --verbose"),
    _cli("node status --num-lines"),
    _cli("node status --log-type"),
    _cli("node status --follow-tail"),
    _cli("doctor", note="changes nothing without --fix; says what to install instead of running a script as root"),
    _cli("uninstall", note="removes what is this tool's, not all Docker images; refuses while a cloud holds anything"),
    _cli("upgrade", note="and --undo, --move-aws"),
    _cli("upgrade --verbose"),
    _cli("copy-example"),
    _cli("copy-example --example"),
    _cli("copy-example --dest"),
    _cli("copy-example --verbose"),
    _cli("list-constants", note="sizes, examples, providers and tournaments; paths are shown by `doctor`"),
    _cli("add-volume-aws", note="there one volume for all nodes, here a disk for each run; `node config --disk`"),
    _cli("add-volume-aws --size"),
    _cli("add-volume-aws --verbose"),
    _cli("destroy-all", note='asks; there any answer but none destroys, "n" included'),
    _cli("destroy-all --preserve-node-config"),
    _cli("destroy-all --verbose"),
    _napi("account", OTHER, "doctor", "whose keys they are and what they may do; the rest is on the website"),
    _napi("account --tournament", REFUSED, "", "an account has models of all tournaments; each node knows its own"),
    _napi("check-new-round", OTHER, "status", "the open round and its deadline; `watch --once` acts on it"),
    _napi("check-new-round --hours", REFUSED, "", "no guess by hours: whether a round is open is asked"),
    _napi("check-new-round --tournament", OTHER, "status", "all tournaments that nodes are in"),
    _napi("competitions", OTHER, "history", "the rounds of your nodes"),
    _napi("competitions --tournament", OTHER, "history --tournament"),
    _napi("current-round", OTHER, "status"),
    _napi("current-round --tournament", OTHER, "status", "all tournaments that nodes are in"),
    _napi("daily-model-performances", REFUSED, "", _PEOPLE),
    _napi("daily-model-performances --tournament", REFUSED, "", _PEOPLE),
    _napi("download-dataset", OTHER, "data download", "resumes, and checks what arrived"),
    _napi("download-dataset --filename", OTHER, "data download", "the file's name, or train, validation, live, all"),
    _napi("download-dataset --dest_path", OTHER, "data download --to"),
    _napi("download-dataset --round_num", REFUSED, "", "Numerai serves versions, not rounds, of its files"),
    _napi("download-dataset --tournament", OTHER, "data download --tournament"),
    _napi("leaderboard", REFUSED, "", _PEOPLE),
    _napi("leaderboard --limit", REFUSED, "", _PEOPLE),
    _napi("leaderboard --offset", REFUSED, "", _PEOPLE),
    _napi("leaderboard --tournament", REFUSED, "", _PEOPLE),
    _napi("list-datasets", OTHER, "data list"),
    _napi("list-datasets --round_num", REFUSED, "", "Numerai serves versions, not rounds, of its files"),
    _napi("list-datasets --tournament", OTHER, "data list --tournament"),
    _napi("models", OTHER, "setup", "names them all; `--json` too, and `--dry-run` records nothing"),
    _napi("models --tournament", OTHER, "setup", "by tournament"),
    _napi("profile", REFUSED, "", _PEOPLE),
    _napi("profile --tournament", REFUSED, "", _PEOPLE),
    _napi("stake-decrease", REFUSED, "", _MONEY),
    _napi("stake-decrease --model_id", REFUSED, "", _MONEY),
    _napi("stake-decrease --tournament", REFUSED, "", _MONEY),
    _napi("stake-drain", REFUSED, "", _MONEY),
    _napi("stake-drain --model_id", REFUSED, "", _MONEY),
    _napi("stake-drain --tournament", REFUSED, "", _MONEY),
    _napi("stake-get", REFUSED, "", _MONEY),
    _napi("stake-get --tournament", REFUSED, "", _MONEY),
    _napi("stake-increase", REFUSED, "", _MONEY),
    _napi("stake-increase --model_id", REFUSED, "", _MONEY),
    _napi("stake-increase --tournament", REFUSED, "", _MONEY),
    _napi("submission-filenames", OTHER, "history", "each submission with its round, how it counts and its id"),
    _napi("submission-filenames --model_id", OTHER, "history --model-name"),
    _napi("submission-filenames --round_num", OTHER, "history --rounds", "the latest rounds"),
    _napi("submission-filenames --tournament", OTHER, "history --tournament"),
    _napi("submit", OTHER, "node test", "or, in a node's folder: `python -m numerai_node submit FILE`"),
    _napi("submit --model_id", OTHER, "node test --model-name"),
    _napi("submit --tournament", OTHER, "node test --tournament"),
    _napi("transactions", REFUSED, "", _MONEY),
    _napi("transactions --tournament", REFUSED, "", _MONEY),
    _napi("version", OTHER, "--version"),
    Row("numerauto", "a script that calls run()", SAME, "events run", "numerauto's names and events, docs/handlers.md"),
    Row("numerauto", "run(single_run=True)", SAME, "events run --single-run"),
    Row("numerauto", "run() again after state.pickle was removed", OTHER, "events run --again", "and --single-run"),
    Row("numerauto", "python -m numerauto.numerauto", OTHER, "events run", "the module held an example only"),
    Row("LightGBM pipeline", "train", SAME, "train", "early stopping by CORR, ensembles, resumed to the same bytes"),
    Row("LightGBM pipeline", "validate", SAME, "validate", "CORR, MMC, BMC, FNC, exposure, side by side"),
    Row("LightGBM pipeline", "submit", SAME, "node test"),
    Row("LightGBM pipeline", "on Google Cloud", LATER, "", _NO_CLOUD),
)  # fmt: skip
