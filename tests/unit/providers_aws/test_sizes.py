"""Sizes on AWS: what is offered is taken, what is not is refused with something that is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numerai_compute.errors import UsageError
from numerai_compute.models import SIZES
from numerai_compute.providers.aws.sizes import (
    EC2_CPU,
    EC2_MEMORY,
    FARGATE_CPU,
    FARGATE_MEMORY,
    beyond_fargate,
    fits_fargate,
    nearest_pairs,
    provisioned_size,
)

cpus = st.floats(0.1, FARGATE_CPU)
memories = st.integers(64, FARGATE_MEMORY)


@pytest.mark.parametrize("name", SIZES)
def test_every_named_size_is_given_at_least_what_it_says(name: str) -> None:
    size = SIZES[name]
    cpu, memory = provisioned_size(size.cpu, size.memory_mib)
    assert fits_fargate(cpu, memory)
    assert cpu == size.cpu
    assert size.memory_mib <= memory < size.memory_mib * 1.3


@given(cpus, memories)
def test_a_pair_is_taken_as_it_is_or_refused_with_pairs_that_are_taken(cpu: float, memory: int) -> None:
    try:
        assert provisioned_size(cpu, memory)[0] == cpu
    except UsageError as error:
        assert error.code == "bad-size"
        assert "nearest" in (error.hint or "")


@given(cpus, memories)
def test_the_first_suggestion_is_enough_and_all_are_offered(cpu: float, memory: int) -> None:
    pairs = nearest_pairs(cpu, memory)
    assert len(pairs) == len(set(pairs)) == 3
    assert all(provisioned_size(*pair) == pair for pair in pairs)
    assert pairs[0][0] >= cpu and pairs[0][1] >= memory


def test_a_pair_that_is_offered_is_its_own_nearest() -> None:
    assert nearest_pairs(2, 16384)[0] == (2, 16384)


@pytest.mark.slow
@given(st.integers(1, EC2_CPU), st.integers(FARGATE_MEMORY + 1, EC2_MEMORY))
def test_more_than_fargate_gives_runs_on_hosts(cpu: int, memory: int) -> None:
    assert beyond_fargate(cpu, memory)
    assert provisioned_size(cpu, memory) == (cpu, memory)


@pytest.mark.parametrize(("cpu", "memory"), [(17.5, 8192), (193, 8192), (32, 300), (8, EC2_MEMORY + 1)])
def test_what_no_host_gives_is_refused(cpu: float, memory: int) -> None:
    with pytest.raises(UsageError, match="no host"):
        provisioned_size(cpu, memory)


def test_the_refusal_names_the_nearest() -> None:
    with pytest.raises(UsageError) as refusal:
        provisioned_size(2, 3072)
    assert "2 vCPU with 3 GiB" in refusal.value.message
    assert "2 vCPU with 4 GiB" in (refusal.value.hint or "")


def test_hosts_for_arm64_are_smaller() -> None:
    assert provisioned_size(64, 480 * 1024, "arm64") == (64, 480 * 1024) == provisioned_size(64, 480 * 1024)
    for cpu, memory_gib in ((65, 480), (64, 481)):
        assert provisioned_size(cpu, memory_gib * 1024) == (cpu, memory_gib * 1024)
        with pytest.raises(UsageError, match="AWS has no host") as refused:
            provisioned_size(cpu, memory_gib * 1024, "arm64")
        assert "1 to 64 whole vCPUs and at most 480 GiB" in str(refused.value.hint)
