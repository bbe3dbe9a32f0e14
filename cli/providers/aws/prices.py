"""What AWS charged in us-east-1 when this table was written, in US dollars. Other regions cost up to half more.

Sources: the public price pages of Fargate, ECR, Lambda, CloudWatch, Systems Manager, S3, DynamoDB and VPC.
"""

from __future__ import annotations

from datetime import date

TABLE_DATE = date(2026, 4, 1)
TABLE_REGION = "us-east-1"

FARGATE_VCPU_HOUR = 0.04048
FARGATE_GIB_HOUR = 0.004445
FARGATE_DISK_GIB_HOUR = 0.000111
"""Of what a run's disk has beyond the 20 GiB that cost nothing; a host's disk on EC2 costs about the same."""
ARM_SHARE = 0.8
"""What arm64 costs of that: Fargate's (0.03238 and 0.00356), and about as much that of hosts (m6g beside m6i). It is on
Fargate Spot too: docs.aws.amazon.com/batch/latest/APIReference/API_RuntimePlatform.html excepts Windows only."""
SPOT_SHARE = 0.35
"""What Fargate Spot costs of that. It moves with demand; AWS says `up to 70 % off`, so this errs on the dear side."""
PUBLIC_ADDRESS_HOUR = 0.005
"""A run has a public IPv4 address: the way out without a NAT gateway, which would cost 33 dollars a month."""
EC2_VCPU_HOUR, EC2_GIB_HOUR = 0.0335, 0.0042
"""About what hosts of the general kind (m5, m6i) cost; the exact one is chosen by Batch when a run starts."""

ECR_GIB_MONTH = 0.10
LOG_GIB_WRITTEN, LOG_GIB_MONTH = 0.50, 0.03
S3_GIB_MONTH = 0.023
WEBHOOK_CALL = 0.0000002 + 1.0 * 1.0 * 0.0000133334
"""One request, and one second of 1 GiB on arm64. The first million requests of a month are free; not counted on."""
TRIGGER_ITEMS = 6 * 0.000000625 + 3 * 0.000000125
"""What one trigger writes to and reads from the table."""
WATCHER_CALLS_MONTH = 12 * 24 * 365 / 12
"""terraform/aws/watcher.tf: one every five minutes, all year."""
WATCHER_CALL = 0.0000002 + 0.25 * 1.0 * 0.0000133334 + 3 * 0.000000125
"""One request, one second of 256 MiB on arm64 (Numerai is asked which rounds there are), three looks at the table."""
WATCHER_LOOKS_MONTH = 12 * (4 * 1 + 26) * 52 / 12
"""Those inside a window: an hour on four weekdays, 26 at the weekend."""
WATCHER_LOOK = 0.25 * 3.0 * 0.0000133334 + 2 * 0.000000625 + 20 * 0.000000125
"""Three seconds more, some twenty looks at the table, and one at the keys: standard parameters are free."""
