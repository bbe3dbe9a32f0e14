"""How often one address may ask for each operation."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .refusal import HttpRefusal


@dataclass(frozen=True)
class Limit:
    """At most `calls` calls in any stretch of `seconds`."""

    calls: int
    seconds: float = 60.0


_A_MINUTE = {
    1000: ("account", "submissionUploadAuth", "submissionUploadSignalsAuth"),
    600: ("computePickles",),
    500: ("model", "createSubmission", "createSignalsSubmission", "v2RoundModelPerformances"),
    300: ("submissionScores", "stakeTransactions", "v3UserProfile"),
    250: ("rounds",),
    200: ("dataset", "v2Leaderboard"),
    100: (
        "roundDetails",
        "apiTokenInfo",
        "submissions",
        "submissionDownloadAuth",
        "pendingModelPayouts",
        "v2SignalsProfile",
        "accountProfile",
        "assignPickleToModel",
    ),
    50: ("userScores", "diagnostics", "setSubmissionWebhook", "triggerModelWebhook"),
    20: (
        "pipelineStatus",
        "modelNameAvailable",
        "accountLeaderboard",
        "signalsLeaderboard",
        "cryptosignalsLeaderboard",
        "deleteDiagnostics",
        "triggerLogs",
        "diagnosticsTriggerLogs",
        "computePickleUploadAuth",
        "computePickleDownloadAuth",
        "computePickleDataVersions",
        "computePickleDockerImages",
    ),
    10: (
        "tournaments",
        "listDatasets",
        "apiTokenScopes",
        "addModel",
        "renameModel",
        "archiveModel",
        "unarchiveModel",
        "updatePickleLabel",
        "setUserBio",
        "setUserLink",
    ),
    5: ("createDiagnostics", "updateEmailPreferences"),
}
DOCUMENTED: Mapping[str, Limit] = {
    **{name: Limit(calls) for calls, names in _A_MINUTE.items() for name in names},
    "diagnosticsUploadAuth": Limit(50, 600),
    "createComputePickleUpload": Limit(3, 1800),
    "triggerComputePickleUpload": Limit(3, 600),
}
"""Numerai's own limits for each IP address and operation.

Source: the API's graphqlRateLimits on 2026-07-20, github.com/api-evangelist/numerai. The four operations of an upload
are not limited for allowlisted addresses.
"""


class RateLimits:
    """Counts calls by address and operation, by the machine's clock. What has no limit is not counted."""

    def __init__(self, limits: Mapping[str, Limit], clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)

    def spend(self, address: str, operation: str) -> None:
        """Count one call; `HttpRefusal` 429 when it is one too many."""
        limit = self._limits.get(operation)
        if limit is None:
            return
        now = self._clock()
        with self._lock:
            recent = self._recent[f"{operation} {address}"]
            while recent and recent[0] <= now - limit.seconds:
                recent.popleft()
            if len(recent) >= limit.calls:
                allowed = f"{limit.calls} times in {limit.seconds:g} seconds"
                raise HttpRefusal(429, f"Too many requests: {operation} may be called {allowed}")
            recent.append(now)
