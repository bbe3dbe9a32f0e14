"""What an audit of November 2026 found partly there or missing beside the tools that came before, and how it stands.

It compared 492 features; those that were there, or deliberately not, are counted in `BEFORE` only. numerai-cli 1.1.7,
numerauto 0.3.1, numerapi 3.1.1, numerai-predict, numerblox 1.6.1, numerai-tools 0.7.2, and the pages that this project
began with.
"""

from __future__ import annotations

from dataclasses import dataclass

DONE, PARTLY, REFUSED, OPEN = "there", "partly", "not wanted", "missing"

BEFORE = {
    "numerai-cli": (101, 21, 36, 10),
    "numerauto": (33, 12, 4, 1),
    "numerapi, command line": (2, 7, 4, 5),
    "numerapi, methods": (13, 6, 22, 14),
    "numerai-predict": (4, 1, 6, 1),
    "numerblox": (5, 8, 3, 31),
    "numerai-tools": (9, 3, 8, 35),
    "first pages": (49, 12, 23, 3),
}
"""Of each: how many were there, partly there, missing, and deliberately not or somebody else's job."""


@dataclass(frozen=True)
class Feature:
    """A feature of `tool` that was `before` PARTLY there or missing (OPEN) and is `now` something.

    `where` is what does it: a command of this tool with an option, a document with a heading, or a module. `note` says
    the rest; without `where` it is the reason.
    """

    tool: str
    what: str
    before: str
    now: str
    where: str = ""
    note: str = ""


_AZURE = "no provider for Azure; it waits for people who ask for it, as each cloud must be proven. A plug-in can be one"
_GCP = "no provider for Google Cloud yet: it is planned, after AWS is proven in an account. A plug-in can be one"
_STANDINGS = "other people's models and public standings: numerapi does it with the same keys, and numer.ai shows it"
_VALIDATE = "not yet: scores of a validation are being built as a command; until then numerai-tools, in every example"
_DATA = "a node has it: `python -m numerai_node data`; a command outside of one is being built"
_HOSTED = "docs/hosted.md"
_PICKLED = "node_template/pickle-python3/predict.py"
_REHEARSED = "packed, tried within Numerai's limits, uploaded, validated, assigned: the provider `hosted`"
_UNUSED = "accepted and unused: when to wait and try again follows from the round's deadline"
_SCORES = "not yet: scores of live rounds are not read anywhere; numerapi does it with the same keys"
_TOURNAMENT_DATA = "a node's runtime lists and downloads, resumed and checked; the version can be pinned"
_GUIDE = "docs/from-numerai-cli.md"


def _cli(what: str, before: str, now: str, where: str = "", note: str = "") -> Feature:
    return Feature("numerai-cli", what, before, now, where, note)


def _auto(what: str, before: str, now: str, where: str = "", note: str = "") -> Feature:
    return Feature("numerauto", what, before, now, where, note)


def _line(what: str, before: str, now: str, where: str = "", note: str = "") -> Feature:
    return Feature("numerapi, command line", what, before, now, where, note)


def _napi(what: str, before: str, now: str, where: str = "", note: str = "") -> Feature:
    return Feature("numerapi, methods", what, before, now, where, note)


def _predict(what: str, before: str, now: str, where: str = "", note: str = "") -> Feature:
    return Feature("numerai-predict", what, before, now, where, note)


def _blox(what: str, before: str, now: str, where: str = "", note: str = "") -> Feature:
    return Feature("numerblox", what, before, now, where, note)


def _tools(what: str, before: str, now: str, where: str = "", note: str = "") -> Feature:
    return Feature("numerai-tools", what, before, now, where, note)


def _page(what: str, before: str, now: str, where: str = "", note: str = "") -> Feature:
    return Feature("first pages", what, before, now, where, note)


FEATURES = (
    _cli(
        "`setup` asks for both Numerai keys, Enter keeps what is recorded",
        PARTLY,
        DONE,
        "setup",
        "neither half is shown",
    ),
    _cli("`setup` asks for Azure's keys", OPEN, OPEN, "", _AZURE),
    _cli("`setup` asks for Google's key file", OPEN, OPEN, "", _GCP),
    _cli(
        "`node` asks for the model where -m is missing",
        PARTLY,
        REFUSED,
        "",
        "a question would stop a script; the only model is taken by itself, else the models are named",
    ),
    _cli(
        "`config --provider` with azure and gcp",
        PARTLY,
        PARTLY,
        "node config --provider",
        f"{_GCP}. For Azure: {_AZURE}",
    ),
    _cli(
        "`config` moves a node to another provider in one go",
        PARTLY,
        DONE,
        "docs/node.md#moving-a-node-to-another-provider",
    ),
    _cli("`config` refuses mem-* sizes on gcp", OPEN, OPEN, "", _GCP),
    _cli(
        "`config --cron` in Azure's form, with seconds",
        OPEN,
        DONE,
        "upgrade",
        "drops them from such a schedule; there is no Azure to give one to",
    ),
    _cli("`config --cron` takes a registered webhook off", OPEN, DONE, "node config --cron"),
    _cli(
        "`config` saves repository, log groups and cluster in nodes.json",
        PARTLY,
        REFUSED,
        "",
        "they are the provider's own and live in its record; `node status` and `node logs` show what they led to",
    ),
    _cli(
        "`deploy` from a folder above, with a shared package", OPEN, DONE, "docs/node.md#code-that-several-nodes-share"
    ),
    _cli("`doctor`, whatever there is", PARTLY, DONE, "doctor", "an unknown provider or a missing extra is a finding"),
    _cli(
        "`doctor` compares its version with PyPI's",
        OPEN,
        REFUSED,
        "",
        "there is no release to compare with yet, and it asks nobody unasked; versions of the runtime are compared",
    ),
    _cli("`doctor` checks the keys of Numerai, AWS, Azure", PARTLY, PARTLY, "doctor", f"Numerai and AWS. {_AZURE}"),
    _cli(
        "`doctor` says where to report a bug",
        OPEN,
        OPEN,
        "",
        "the project has no public address yet; SECURITY.md says how to report a weakness",
    ),
    _cli("`uninstall`", OPEN, DONE, "uninstall"),
    _cli(
        "`upgrade` from 0.3 to 1.1",
        PARTLY,
        DONE,
        "upgrade",
        "nodes of absent providers are kept, moved or forgotten; AWS keys can be used",
    ),
    _cli("`upgrade` from 0.1 and 0.2", OPEN, DONE, "upgrade"),
    _cli(
        "`upgrade` destroys the old cloud node on request",
        OPEN,
        OPEN,
        "docs/from-numerai-cli.md#what-is-left-in-your-cloud",
        "by hand; taking over or removing the old cluster is being built",
    ),
    _cli(
        "`list-constants` with paths and defaults",
        PARTLY,
        DONE,
        "list-constants",
        "the default size is marked; paths are shown by `doctor`",
    ),
    _cli("`add-volume-aws`", OPEN, DONE, "add-volume-aws"),
    _cli("`destroy-all`", OPEN, DONE, "destroy-all"),
    _cli("default size cpu-md on GCP", OPEN, OPEN, "", _GCP),
    _cli("build argument MODEL_ID", OPEN, DONE, "docs/node.md#code-that-several-nodes-share"),
    _cli("build argument SRC_PATH", PARTLY, DONE, "docs/node.md#code-that-several-nodes-share"),
    _cli("build argument NODE", OPEN, DONE, "docs/node.md#code-that-several-nodes-share"),
    _cli("Google's variables for Terraform", OPEN, OPEN, "", _GCP),
    _cli("ARM_* variables for Terraform", OPEN, OPEN, "", _AZURE),
    _cli("`.gcp_keys`", OPEN, OPEN, "", _GCP),
    _cli("the folder `azure/`", OPEN, OPEN, "", f"left as it is by `upgrade`. {_AZURE}"),
    _cli("the folder `gcp/`", OPEN, OPEN, "", f"left as it is by `upgrade`. {_GCP}"),
    _cli(
        "`submission_url.txt`, `docker_repo.txt` of 0.2",
        OPEN,
        DONE,
        "upgrade",
        "left as they are: nothing of the old tool's is deleted",
    ),
    _cli("a disk of a chosen size on AWS", OPEN, DONE, "node config --disk"),
    _cli(
        "Terraform from its Docker image",
        PARTLY,
        PARTLY,
        "README.md",
        "the tool's own image holds Terraform; a container of Terraform alone would have to be given the cloud's keys",
    ),
    _cli(
        "AWS proven in a real account",
        OPEN,
        OPEN,
        "docs/aws.md#the-first-run-on-an-account",
        "nobody here has an account: `make aws-first-run` proves it in yours, step by step",
    ),
    _cli("Azure, all of it", OPEN, OPEN, "", _AZURE),
    _cli("Google Cloud, all of it", OPEN, OPEN, "", _GCP),
    _cli(
        "a model trained on the laptop goes into the image",
        OPEN,
        OPEN,
        "",
        "not yet: `artifacts` is kept out of images; carrying one trained file to the node is being built",
    ),
    _cli(
        "signals example on Numerai's features",
        PARTLY,
        DONE,
        "node_template/signals-python3/predict.py",
        "text columns are left out",
    ),
    _cli(
        "signals example with a train.py",
        OPEN,
        REFUSED,
        "",
        "it trains in the run, as its rows are few enough: one file to read, and never a model of last year",
    ),
    _cli("crypto example on the features of crypto/v2.0", PARTLY, DONE, "node_template/crypto-python3/predict.py"),
    _cli(
        "the official signals image, unchanged",
        PARTLY,
        PARTLY,
        "sandbox serve",
        "the sandbox serves the files that it asks for; a proof from end to end is being built",
    ),
    _cli(
        "the official crypto image, unchanged",
        PARTLY,
        PARTLY,
        "sandbox serve",
        "the sandbox serves the files that it asks for; a proof from end to end is being built",
    ),
    _cli(
        "the official R image, unchanged",
        PARTLY,
        PARTLY,
        "",
        "its environment and arguments are there; `r-base` and packages from GitHub could not be had to prove it",
    ),
    _cli("a data version that is pinned", OPEN, DONE, "node config --data-version"),
    _cli(
        "Windows and macOS",
        PARTLY,
        PARTLY,
        "README.md",
        "written for them, and tested on Linux only: there are no such machines in CI",
    ),
    _cli(
        "AWS from nothing: account, user, policy, key",
        PARTLY,
        PARTLY,
        "setup --print-policy",
        "docs/aws.md says what a new account lacks; how one is opened stands in AWS's own guide",
    ),
    _cli("Azure's guide", OPEN, OPEN, "", _AZURE),
    _cli("Google's guide", OPEN, OPEN, "", _GCP),
    _cli("how to upgrade, version by version", OPEN, DONE, _GUIDE, "one way for every version"),
    _cli("how to uninstall", OPEN, DONE, _GUIDE),
    _cli(
        "troubleshooting",
        PARTLY,
        DONE,
        "docs/aws.md#when-something-goes-wrong",
        "every other error says itself what to do next",
    ),
    _cli(
        "where to look in AWS's console",
        PARTLY,
        REFUSED,
        "",
        "`node logs`, `status` and `doctor` fetch what stands there; pages of a console move",
    ),
    _cli("code that several models share", OPEN, DONE, "docs/node.md#code-that-several-nodes-share"),
    _cli(
        "the webhook's address is printed",
        PARTLY,
        REFUSED,
        "",
        "it holds the token that starts runs; nodes.json has it, for you only",
    ),
    _cli("links to a chat and to issues", OPEN, OPEN, "", "the project has no public address yet"),
    _cli(
        "a release on PyPI",
        OPEN,
        OPEN,
        "",
        "not released yet; hints name the folder or repository that it was installed from",
    ),
    _auto(
        "SKLearnModelTrainer for any tournament",
        PARTLY,
        REFUSED,
        "",
        "numerauto's tournaments shared one set of features; today Signals and Crypto have others, and an example each",
    ),
    _auto(
        "SIGINT by a handler of its own",
        PARTLY,
        REFUSED,
        "",
        "a SIGINT that a shell has switched off for what runs in the background stays off; SIGTERM ends it",
    ),
    _auto(
        "`run()` without handlers downloads each round",
        PARTLY,
        REFUSED,
        "",
        "it ends without a download: there is nobody to read it",
    ),
    _auto(
        "RobustNumerAPI by itself",
        PARTLY,
        REFUSED,
        "",
        "outside of a running daemon numerapi is the same, and says so; with it, tries and checks are the daemon's",
    ),
    _auto(
        "all other methods of numerapi on `napi`",
        OPEN,
        REFUSED,
        "",
        "the error names what to use: `numerauto.node` for data, the package numerapi for the rest",
    ),
    _auto(
        "state.pickle in the current folder",
        PARTLY,
        DONE,
        "events run --again",
        "JSON in the home; `--again` has the round's events once more, training included",
    ),
    _auto(
        "last_round_processed, last_round_trained",
        PARTLY,
        DONE,
        "docs/handlers.md#what-it-promises",
        "kept for each handler by itself, so that one that failed is called again",
    ),
    _auto("config check_validation_data", PARTLY, REFUSED, "", _UNUSED),
    _auto("config wakeup_time", PARTLY, REFUSED, "", _UNUSED),
    _auto("config invalid_dataset_waittime", PARTLY, REFUSED, "", _UNUSED),
    _auto("config napi_wait_schedule", PARTLY, REFUSED, "", _UNUSED),
    _auto("config upload_verify_wait_schedule", PARTLY, REFUSED, "", _UNUSED),
    _auto(
        "wait_till_next_round",
        OPEN,
        REFUSED,
        "",
        "the daemon waits, by Numerai's own times; there is nothing to call in between",
    ),
    _auto(
        "numerauto.utils: check_dataset, wait, wait_until, wait_for_retry",
        OPEN,
        REFUSED,
        "",
        "they were its own inside: checks and waits are the runtime's now",
    ),
    _auto(
        "the module numerauto.numerauto, `__version__`",
        OPEN,
        DONE,
        "cli/numerauto/numerauto.py",
        "`python -m` of it ran an example without handlers: `numerai events run`",
    ),
    _auto(
        "several tournaments in one process",
        PARTLY,
        REFUSED,
        "",
        "a process for each: one that hangs holds up no other. PredictionUploader(tournament_id) submits elsewhere",
    ),
    _line("list-datasets", PARTLY, PARTLY, "", _DATA),
    _line("download-dataset", PARTLY, PARTLY, "", _DATA),
    _line("competitions", OPEN, DONE, "history", "the rounds of your nodes"),
    _line("current-round", PARTLY, DONE, "status"),
    _line("leaderboard", OPEN, REFUSED, "", _STANDINGS),
    _line("submission-filenames", PARTLY, DONE, "history", "each submission with its round, how it counts and its id"),
    _line("account", PARTLY, DONE, "doctor", "whose keys they are and what they may do"),
    _line("models", PARTLY, DONE, "setup --json", "all of them, by tournament; with --dry-run nothing is recorded"),
    _line("profile", OPEN, REFUSED, "", _STANDINGS),
    _line("daily-model-performances", OPEN, REFUSED, "", _STANDINGS),
    _line(
        "submit",
        PARTLY,
        REFUSED,
        "",
        "a node submits, checked and confirmed; by hand: `python -m numerai_node submit FILE` in its folder",
    ),
    _napi("list_datasets", PARTLY, DONE, "node_template/numerai_node/data.py", _TOURNAMENT_DATA),
    _napi("get_account", PARTLY, DONE, "doctor", "user and scopes; the rest is money and the profile"),
    _napi("models_of_account", OPEN, REFUSED, "", _STANDINGS),
    _napi("public_user_profile", OPEN, REFUSED, "", _STANDINGS),
    _napi("list_rounds", PARTLY, DONE, "history --rounds"),
    _napi(
        "set_bio",
        OPEN,
        REFUSED,
        "",
        "the profile is changed on the website; a tool that holds keys day and night need not be able to",
    ),
    _napi(
        "set_link",
        OPEN,
        REFUSED,
        "",
        "the profile is changed on the website; a tool that holds keys day and night need not be able to",
    ),
    _napi("upload_diagnostics", OPEN, OPEN, "", _VALIDATE),
    _napi("diagnostics", OPEN, OPEN, "", _VALIDATE),
    _napi("submission_scores", OPEN, OPEN, "", _SCORES),
    _napi("round_model_performances_v2", OPEN, OPEN, "", _SCORES),
    _napi("intra_round_scores", OPEN, OPEN, "", _SCORES),
    _napi("round_model_performances", OPEN, REFUSED, "", "deprecated by Numerai"),
    _napi("get_account_leaderboard", OPEN, REFUSED, "", _STANDINGS),
    _napi(
        "pipeline_status",
        OPEN,
        REFUSED,
        "",
        "how Numerai's scoring gets on decides nothing here; rounds and submissions are asked for directly",
    ),
    _napi("model_upload", OPEN, DONE, _HOSTED, _REHEARSED),
    _napi("model_upload_data_versions", OPEN, DONE, _HOSTED, "`config --data-version`, checked against the list"),
    _napi("model_upload_docker_images", OPEN, DONE, _HOSTED, "the setting `python`, checked against the list"),
    _napi(
        "download_submission",
        PARTLY,
        REFUSED,
        "",
        "read back and compared byte for byte after each submission; to have the file, numerapi",
    ),
    _napi("get_competitions", OPEN, DONE, "history", "the rounds of your nodes"),
    _napi("get_submission_filenames", PARTLY, DONE, "history", "ids, and how each counts; names are compared inside"),
    _napi("get_leaderboard, Classic", OPEN, REFUSED, "", _STANDINGS),
    _napi("daily_model_performances, Classic", OPEN, REFUSED, "", _STANDINGS),
    _napi("get_leaderboard, Signals", OPEN, REFUSED, "", _STANDINGS),
    _napi("daily_model_performances, Signals", OPEN, REFUSED, "", _STANDINGS),
    _napi("get_leaderboard, Crypto", OPEN, REFUSED, "", _STANDINGS),
    _napi(
        "keys from a file .env",
        OPEN,
        REFUSED,
        "",
        "it lies beside the code and enters images: `deploy` refuses it there. `setup` takes what is pasted from one",
    ),
    _napi(
        "a site of documentation",
        PARTLY,
        REFUSED,
        "",
        "docs/ lies beside the code and is held to it by tests; types are strict",
    ),
    _predict("--model FILE", OPEN, DONE, _HOSTED, "the one `*.pkl` in the folder; or `-e pickle-python3`"),
    _predict("--model URL", OPEN, REFUSED, "", "a pickle runs what is in it: only a file that is there is loaded"),
    _predict("predict(live, benchmark_models)", OPEN, DONE, _PICKLED, "and in the rehearsal of `-P hosted`"),
    _predict("--dataset, --benchmarks", OPEN, DONE, _HOSTED, "`config --data-version`; today's files of it"),
    _predict("--output_dir", OPEN, REFUSED, "", "predictions are submitted; a rehearsal's are checked and not kept"),
    _predict(
        "images for each Python with the modelling packages",
        PARTLY,
        REFUSED,
        "",
        "a node's image is its own Dockerfile: what it names in FROM and requirements.txt, and no more",
    ),
    _predict("a pickle tried before it is uploaded", OPEN, DONE, _HOSTED, _REHEARSED),
    _blox(
        "ExamplePredictions",
        PARTLY,
        DONE,
        "node_template/numerai_node/data.py",
        '`node.dataset.file("live_example_preds.parquet")`',
    ),
    _blox(
        "BaseEvaluator", PARTLY, PARTLY, "node_template/numerai_node/scores.py", f"CORR, mean and Sharpe. {_VALIDATE}"
    ),
    _blox(
        "NumeraiClassicEvaluator",
        PARTLY,
        PARTLY,
        "node_template/numerai_node/scores.py",
        f"CORR, mean and Sharpe. {_VALIDATE}",
    ),
    _blox("NumeraiSignalsEvaluator", OPEN, OPEN, "", _VALIDATE),
    _blox("NumeraiModelUpload", OPEN, DONE, _HOSTED, _REHEARSED),
    _blox("BaseIO (S3, Google's storage)", PARTLY, PARTLY, "node_template/numerai_node/bucket.py", f"S3. {_GCP}"),
    _blox("BaseDownloader", PARTLY, DONE, "node_template/numerai_node/downloads.py", _TOURNAMENT_DATA),
    _blox("NumeraiClassicDownloader", PARTLY, DONE, "node_template/numerai_node/data.py", _TOURNAMENT_DATA),
    _blox("NumeraiSignalsDownloader", PARTLY, DONE, "node_template/numerai_node/data.py", _TOURNAMENT_DATA),
    _blox("NumeraiCryptoDownloader", PARTLY, DONE, "node_template/numerai_node/data.py", _TOURNAMENT_DATA),
    _blox(
        "EODDownloader",
        OPEN,
        REFUSED,
        "",
        "prices of a paid vendor: a predict.py may use any; Numerai's own Signals features need none",
    ),
    _tools("signals.churn", OPEN, OPEN, "", _VALIDATE),
    _tools("signals.neutral_churn", OPEN, OPEN, "", _VALIDATE),
    _tools("signals.turnover", OPEN, OPEN, "", _VALIDATE),
    _tools("signals.calculate_max_churn_and_turnover", OPEN, OPEN, "", _VALIDATE),
    _tools(
        "scoring.correlation_contribution (MMC)",
        PARTLY,
        PARTLY,
        "cli/sandbox/diagnostics.py",
        f"in the sandbox. {_VALIDATE}",
    ),
    _tools("scoring.feature_neutral_corr", OPEN, OPEN, "", _VALIDATE),
    _tools("scoring.max_feature_correlation", OPEN, OPEN, "", _VALIDATE),
    _tools("scoring.alpha", OPEN, OPEN, "", _VALIDATE),
    _tools("scoring.meta_portfolio_contribution", OPEN, OPEN, "", _VALIDATE),
    _tools(
        "submissions.remap_ids",
        PARTLY,
        REFUSED,
        "",
        "a submission names the day of its live data instead, and Numerai maps the ids",
    ),
    _tools(
        "submissions.clean_submission",
        PARTLY,
        DONE,
        "node_template/numerai_node/rules.py",
        "ids that are not live are left out, the rest is refused with the reason",
    ),
    _page(
        "pip install --upgrade PACKAGE",
        OPEN,
        OPEN,
        "",
        "not released yet; hints name the folder or repository that it was installed from",
    ),
    _page(
        "data are downloaded without handlers",
        PARTLY,
        REFUSED,
        "",
        "it ends without a download: there is nobody to read it",
    ),
    _page(
        "a key that may only upload suffices",
        PARTLY,
        REFUSED,
        "docs/from-numerauto.md",
        "that a submission counts is confirmed, which takes reading, too: the four scopes are named",
    ),
    _page(
        "runs until SIGINT or SIGTERM",
        PARTLY,
        DONE,
        "events run",
        "but for a SIGINT that a shell has switched off for what runs in the background",
    ),
    _page("state.pickle; remove it to train again", PARTLY, DONE, "events run --again"),
    _page("open an issue", OPEN, OPEN, "", "the project has no public address yet"),
    _page("users, earnings, scores, leaderboard", OPEN, REFUSED, "", _STANDINGS),
    _page("get_competitions, get_competition", OPEN, DONE, "history", "the rounds of your nodes"),
    _page("scores for each round", OPEN, OPEN, "", _SCORES),
    _page("a public user", OPEN, REFUSED, "", _STANDINGS),
    _page("deploy to Google Cloud", OPEN, OPEN, "", _GCP),
    _page(
        "features are preprocessed",
        PARTLY,
        DONE,
        "docs/node.md#a-node-in-python",
        "text columns are left out, missing values are what Numerai means by 2",
    ),
    _page(
        "early stopping on a validation split",
        OPEN,
        OPEN,
        "",
        "not yet: the example trains a fixed number of trees; `numerai train` is being built with it",
    ),
    _page(
        "submission.csv is kept",
        OPEN,
        REFUSED,
        "",
        "Numerai holds it, and it is read back from there after each submission",
    ),
    _page("Cloud Storage", OPEN, OPEN, "", _GCP),
    _page("Cloud Functions, a scheduled trigger", OPEN, OPEN, "", _GCP),
    _page("Cloud Scheduler", OPEN, OPEN, "", _GCP),
    _page("Cloud Logging", OPEN, OPEN, "", _GCP),
    _page(
        "python main.py, without a container",
        PARTLY,
        DONE,
        "setup --executor",
        "process: a virtual environment of the node's requirements; by hand as its README says",
    ),
    _page("MMC of a validation", OPEN, OPEN, "", _VALIDATE),
    _page(
        "train again each week or month",
        OPEN,
        OPEN,
        "",
        "not yet: a model is trained again when its features are gone; `numerai train` is being built",
    ),
    _page(
        "validation metrics are followed",
        PARTLY,
        PARTLY,
        "node logs",
        "in the log of the run that trains; a report over runs is planned",
    ),
    _page(
        "wherever Python and Docker are",
        PARTLY,
        PARTLY,
        "README.md",
        "written for Windows and macOS, and tested on Linux only",
    ),
    _page("models side by side", PARTLY, DONE, "docs/local.md", "several nodes run at once; a run is one model's"),
    _page(
        "an example for several models",
        OPEN,
        REFUSED,
        "",
        "a node is one model; several share code by `config --context`, and event handlers submit to several",
    ),
    _page(
        "a Signals example with financial data of its own",
        OPEN,
        REFUSED,
        "",
        "Numerai serves features for Signals since; data of one's own are joined in predict.py",
    ),
    _page("`doctor` verifies the environment", PARTLY, DONE, "doctor"),
    _page(
        "`doctor` reports bugs",
        OPEN,
        OPEN,
        "",
        "the project has no public address yet; `doctor --json` is what a report needs, without keys",
    ),
    _page(
        "errors are handled",
        PARTLY,
        DONE,
        "docs/contributing.md#the-house",
        "one place turns errors into messages; a missing extra is named with its command",
    ),
    _page(
        "people work together",
        PARTLY,
        PARTLY,
        "setup --remote-state",
        "several machines share a cluster; a second person would need a key of the same account",
    ),
    _page("Google Cloud", OPEN, OPEN, "", _GCP),
    _page("Golem", OPEN, REFUSED, "", "keys would be given to strangers' machines"),
    _page(
        "GPUs in the cloud",
        OPEN,
        OPEN,
        "",
        "not yet: the cluster has a queue for them, and no option of a node asks for one",
    ),
    _page(
        "analytics on GPUs",
        OPEN,
        REFUSED,
        "",
        "nothing here takes long enough for one: a validation is scored on the CPU",
    ),
    _page("more users, a forum post, a place for feedback", OPEN, OPEN, "", "the project has no public address yet"),
)
