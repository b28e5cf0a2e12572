"""Yosys proves the library's modules, and finds what is wrong in others."""

import re

import pytest

from flightnn_jax.rtl import prove
from tests.rtl import faults
from tests.rtl.layers import needs

pytestmark = needs("yosys")
QUICK = (
    *("fork", "product", "product4", "buffer", "elastic", "fifo", "reduce", "activate"),
    *("popcount", "signs", "lookup", "count", "offset"),
    *("results", "narrow", "widen", "windows", "rows"),
)
# fl_lane's and fl_affine's larger ones take some 10 s each
# python -m benchmarks.rtl_proofs has all of them, and all faults
SOME = [claim for claim in prove.CLAIMS if claim.harness not in ("windows", "rows")]
ALL = [*faults.FAULTS, pytest.param(*faults.LONGER[0], marks=pytest.mark.slow)]
SLOW = [claim for claim in prove.CLAIMS if claim.harness in ("lane", "affine")]


def of(harness):
    """The smallest claim of a harness."""
    return next(claim for claim in prove.CLAIMS if claim.harness == harness)


@pytest.mark.parametrize("harness", QUICK)
@pytest.mark.quick(4)
def test_a_module_is_proven(harness):
    assert prove.prove(of(harness)).proven


@pytest.mark.whole(16)
@pytest.mark.slow
@pytest.mark.parametrize("claim", SOME, ids=str)
def test_every_claim_of_small_modules_holds(claim):
    verdict = prove.prove(claim)
    assert verdict.proven, verdict.log[-2000:]


@pytest.mark.parametrize(("harness", "right", "wrong"), ALL)
@pytest.mark.quick(3)
def test_a_module_with_a_fault_is_not(harness, right, wrong):
    verdict = faults.verdict(harness, right, wrong)
    assert not verdict.proven
    # not for a want of anything else
    assert re.search(
        "proof did fail|model found: FAIL|Reached maximum|ERROR: Called with -verify", verdict.log
    )


def test_what_takes_too_long_is_not_proven():
    verdict = prove.prove(SLOW[0], most_seconds=0)
    assert not verdict.proven
    assert "does not end within 0 s" in verdict.log
