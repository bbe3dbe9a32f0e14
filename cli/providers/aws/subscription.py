"""Whether the mail about failed runs reaches the address that is to have it."""

from __future__ import annotations

from enum import Enum

from .clients import AwsClients

_PENDING, _DELETED = "PendingConfirmation", "Deleted"
"""In place of the ARN of a subscription that was not confirmed, or that was removed a short while ago
(docs.aws.amazon.com/sns/latest/dg/SendMessageToHttp.confirm.html; the second as the console and the API show it)."""


class Mail(Enum):
    """How the subscription of an address stands. SNS delivers nothing to one that was not confirmed, and removes it
    after 48 hours (aws.amazon.com/about-aws/whats-new/2023/05/amazon-sns-automatic-deletion-unconfirmed-subscriptions).
    """

    CONFIRMED = "confirmed"
    UNCONFIRMED = "unconfirmed"
    ABSENT = "absent"


def mail_to(clients: AwsClients, topic: str, email: str) -> Mail:
    """How the topic's subscription of this address stands."""
    every = clients.pages("sns", "list_subscriptions_by_topic", "Subscriptions", TopicArn=topic)
    own = [one["SubscriptionArn"] for one in every if (one["Protocol"], one["Endpoint"]) == ("email", email)]
    stands = set(own) - {_DELETED}
    if stands - {_PENDING}:
        return Mail.CONFIRMED
    return Mail.UNCONFIRMED if stands else Mail.ABSENT
