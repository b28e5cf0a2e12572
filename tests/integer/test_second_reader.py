"""Files of every version, read by what was written from the document alone."""

import numpy as np
import pytest

from flightnn_jax import integer
from flightnn_jax.checker import checker, container, reader
from tests.support import second_reader
from tests.support.integers_writer import NETS, of_version_1, write
from tests.support.mutations import mutated_parts
from tests.support.networks_at_random import random_network, random_windows

WRITTEN = {
    name: write(net, [np.full(net.manifest["input_shape"], 77).tolist()])
    for name, net in [
        *((name, NETS[name](0)) for name in NETS),
        ("version 1", of_version_1(NETS["residual"](1))),
    ]
}
LOWERED = {
    **{f"mobile-{w}": random_network(5, "mobile", w) for w in ("shift2", "binary", "codebook")},
    **{f"windows-{seed}": random_windows(seed) for seed in (2, 3, 5)},
}
FILES = WRITTEN | {name: integer.to_bytes(network) for name, network in LOWERED.items()}


def test_files_of_every_version_are_valid_by_the_document():
    versions = {second_reader.check(data).manifest["version"] for data in FILES.values()}
    assert versions == {1, 2, 3, 4, 5, 6}


@pytest.mark.quick(0)
@pytest.mark.whole(5)
@pytest.mark.parametrize("name", FILES)
def test_what_the_checker_refuses_the_document_refuses(name):
    rng, taken = np.random.default_rng(len(name)), 0
    for _ in range(40):
        data = mutated_parts(rng, FILES[name])
        try:
            wanted = not checker.check(reader.read(data))
        except container.FileError:
            wanted = False
        try:
            second_reader.check(data)
            found, reason = True, None
        except second_reader.InvalidError as error:
            found, reason = False, error
        assert found == wanted, reason
        taken += found
    assert taken < 40
