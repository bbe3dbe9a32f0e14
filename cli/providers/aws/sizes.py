"""Which pairs of CPU and memory AWS runs, and what comes nearest to one that it does not."""

from __future__ import annotations

import math

from ...errors import UsageError
from ...models import SIZES

MIB = 1024
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html
FARGATE: dict[float, tuple[int, ...]] = {
    0.25: (512, 1024, 2048),
    0.5: tuple(range(1 * MIB, 4 * MIB + 1, MIB)),
    1: tuple(range(2 * MIB, 8 * MIB + 1, MIB)),
    2: tuple(range(4 * MIB, 16 * MIB + 1, MIB)),
    4: tuple(range(8 * MIB, 30 * MIB + 1, MIB)),
    8: tuple(range(16 * MIB, 60 * MIB + 1, 4 * MIB)),
    16: tuple(range(32 * MIB, 120 * MIB + 1, 8 * MIB)),
}
"""What Fargate offers: vCPUs -> MiB."""
FARGATE_CPU, FARGATE_MEMORY = 16, 120 * MIB
EC2_CPU, EC2_MEMORY = 192, 1440 * MIB
"""The largest that a host of the EC2 queue may be asked for: r7i.48xlarge has 192 vCPUs and 1,536 GiB, of which its
system keeps a part (docs.aws.amazon.com/batch/latest/userguide/ecs-memory-management.html)."""
ARM_CPU, ARM_MEMORY = 64, 480 * MIB
"""The same of arm64: r6g.16xlarge, the largest host of the families in batch.tf, has 64 vCPUs and 512 GiB."""
_SUGGESTIONS = 3

Pair = tuple[float, int]


def fits_fargate(cpu: float, memory_mib: int) -> bool:
    """Whether Fargate offers exactly this pair (vCPUs, MiB)."""
    return memory_mib in FARGATE.get(cpu, ())


def beyond_fargate(cpu: float, memory_mib: int) -> bool:
    """Whether it is more than Fargate's largest, so that hosts of EC2 are started for it."""
    return cpu > FARGATE_CPU or memory_mib > FARGATE_MEMORY


def provisioned_size(cpu: float, memory_mib: int, architecture: str = "amd64") -> Pair:
    """The vCPUs and MiB that a node of this size is given on this architecture.

    A size of the official tool that Fargate does not offer gets the next larger memory. Any other pair is taken as it
    is or refused: `UsageError` with code `bad-size` names the nearest pairs.
    """
    if fits_fargate(cpu, memory_mib):
        return cpu, memory_mib
    if beyond_fargate(cpu, memory_mib):
        _check_host(cpu, memory_mib, *((ARM_CPU, ARM_MEMORY) if architecture == "arm64" else (EC2_CPU, EC2_MEMORY)))
        return cpu, memory_mib
    if (cpu, memory_mib) in {(size.cpu, size.memory_mib) for size in SIZES.values()}:
        return min(pair for pair in _pairs() if pair[0] == cpu and pair[1] >= memory_mib)
    nearest = ", ".join(_words(pair) for pair in nearest_pairs(cpu, memory_mib))
    raise UsageError(
        f"AWS Fargate does not run {_words((cpu, memory_mib))} together.",
        f"The nearest it does run: {nearest}. Give one with --cpu and --memory.",
        code="bad-size",
    )


def nearest_pairs(cpu: float, memory_mib: int) -> list[Pair]:
    """The pairs of Fargate nearest to a pair within its bounds, the nearest one that has no less of either first."""
    pairs = sorted(_pairs(), key=lambda pair: _distance(pair, (cpu, memory_mib)))
    enough = next(pair for pair in pairs if pair[0] >= cpu and pair[1] >= memory_mib)
    return [enough, *(pair for pair in pairs if pair != enough)][:_SUGGESTIONS]


def _pairs() -> list[Pair]:
    return [(cpu, memory) for cpu, memories in FARGATE.items() for memory in memories]


def _distance(pair: Pair, wanted: Pair) -> float:
    return sum(abs(math.log2(have / want)) for have, want in zip(pair, wanted, strict=True))


def _check_host(cpu: float, memory_mib: int, most_cpu: int, most_memory: int) -> None:
    if cpu != int(cpu) or not 1 <= cpu <= most_cpu or not MIB / 2 <= memory_mib <= most_memory:
        raise UsageError(
            f"AWS has no host for {_words((cpu, memory_mib))}.",
            f"Beyond Fargate's {_words((FARGATE_CPU, FARGATE_MEMORY))} a node has 1 to {most_cpu} whole vCPUs and at "
            f"most {most_memory // MIB} GiB.",
            code="bad-size",
        )


def _words(pair: Pair) -> str:
    return f"{pair[0]:g} vCPU with {pair[1] / MIB:g} GiB"
