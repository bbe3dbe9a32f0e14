"""Who asks, through which address, and what they may ask for."""

from __future__ import annotations

from dataclasses import dataclass

from ..core import Sandbox


@dataclass(frozen=True)
class Caller:
    """One request's side of the conversation. `base_url` is the address that the request came to."""

    sandbox: Sandbox
    base_url: str
    address: str
    public_id: str | None = None
    secret_key: str | None = None

    def require(self, scope: str | None) -> None:
        """`Refusal` unless the caller's token is valid and has the scope."""
        self.sandbox.account.require(self.public_id, self.secret_key, scope)

    def signed_url(self, key: str, method: str) -> str:
        """A presigned URL that works from where the caller is."""
        return self.sandbox.signer.url(self.base_url, key, method)
