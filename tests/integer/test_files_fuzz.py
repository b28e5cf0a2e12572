"""Mutated files of integer networks: an IntegerNetworkError each, or a network that is valid."""

import resource

import numpy as np
import pytest

from flightnn_jax.integer import IntegerNetworkError, files, invariants
from tests.support.mutations import mutated_bytes, mutated_parts
from tests.support.networks_at_random import random_network

# Without coverage, which these lines have from other tests: it costs a third of the time.
pytestmark = pytest.mark.slow

FILES = [
    files.to_bytes(random_network(kind="vgg", weights="shift2", width=2, size=4)),
    files.to_bytes(random_network(kind="resnet", weights="integer", width=2, extreme=True)),
]


@pytest.mark.parametrize(("mutate", "count"), [(mutated_bytes, 10_000), (mutated_parts, 1_000)])
def test_mutated_files(mutate, count):
    rng = np.random.default_rng(0)
    accepted, messages = 0, []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KiB on Linux
    for i in range(count):
        data = mutate(rng, FILES[i % 2])
        try:
            network = files.from_bytes(data)
        except IntegerNetworkError as error:
            messages.append(str(error))
            continue
        accepted += 1
        invariants.check(network)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 100 * 1024
    assert 10 < min(map(len, messages)) < max(map(len, messages)) < 1000
    # Labels and exponents may be anything, and golden tensors of no images be left out.
    assert accepted < 0.12 * count
