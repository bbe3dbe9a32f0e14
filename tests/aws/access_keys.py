"""The access keys of the emulated AWS, by which it knows who asks."""

from __future__ import annotations

from typing import Any

USER = "emulated"
"""Whoever uses the tool: what it asks for is held to the printed policy."""
OBSERVER = "observer"
"""A test that looks, or puts something in the way: nobody judges what it does."""
ROLE = "role."
"""Before the name of a role: what a container has that runs under it."""


def role_key(role: str | None) -> str:
    """The key of a container that has this role, by its ARN or name; a container without one does as a test does."""
    return f"{ROLE}{role.rpartition('/')[2]}" if role else OBSERVER


def looking(service: str) -> Any:
    """A client of the test itself, whom nobody judges."""
    import boto3

    return boto3.client(service, aws_access_key_id=OBSERVER, aws_secret_access_key=OBSERVER)
