"""The two readers say the same of mutated files, and neither takes a wrong one."""

import collections

import numpy as np
import pytest

from benchmarks import mutations
from tests.support.mutations import mutated_bytes, mutated_parts

# Without coverage, which these lines have from other tests: it costs half of the time.
pytestmark = pytest.mark.slow

KINDS = {kind.__name__: kind for kind in (mutated_bytes, mutated_parts, mutations.mutated_number)}


@pytest.fixture(scope="module")
def originals():
    return list(map(mutations.Original, mutations.original_files()))


@pytest.mark.parametrize("kind", KINDS)
def test_both_readers_say_the_same(originals, kind):
    rng, counts = np.random.default_rng(7), collections.Counter()
    for i in range(120):
        original = originals[i % len(originals)]
        verdict, _ = original.verdict(KINDS[kind](rng, original.data))
        assert not verdict.startswith("WRONG"), i
        counts[verdict.split(",")[0]] += 1
        if kind == "mutated_number" and original.network.digests is not None:
            assert "other outputs" not in verdict, i  # digests are of 64 images
    assert counts["refused"] > 33
    assert counts["accepted"] > 3 or kind == "mutated_bytes"


@pytest.mark.parametrize("file", range(4))
def test_originals_are_valid(originals, file):
    for original in originals[file::4]:
        assert original.verdict(original.data)[0] == "accepted"
