"""Yosys proves the library's modules, and finds what is wrong in others."""

import re

import pytest

from flightnn_jax.rtl import prove
from flightnn_jax.rtl.modules import library
from tests.rtl.layers import needs

pytestmark = needs("yosys")
QUICK = ("fork", "product", "product4", "buffer", "elastic", "fifo", "reduce", "activate")
# fl_lane's and fl_affine's larger ones take some 10 s each
SLOW = [claim for claim in prove.CLAIMS if claim.harness in ("lane", "affine")]


def of(harness):
    """The smallest claim of a harness."""
    return next(claim for claim in prove.CLAIMS if claim.harness == harness)


@pytest.mark.parametrize("harness", QUICK)
def test_a_module_is_proven(harness):
    assert prove.prove(of(harness)).proven


@pytest.mark.slow
@pytest.mark.parametrize("claim", prove.CLAIMS, ids=str)
def test_every_claim_holds(claim):
    verdict = prove.prove(claim)
    assert verdict.proven, verdict.log[-2000:]


WRONG = [
    ("affine", "value < least ? least", "value < least ? most"),
    ("affine", "clipped[CLIPPED-1]}", "1'b0}"),
    ("affine", "<= product + bias", "<= product - bias"),
    ("product", "{7{x[7]}}", "{7{1'b0}}"),
    ("product", "mask && code[0]", "code[0]"),
    ("product4", "wide << 3", "wide << 2"),
    ("tree", "(LEVELS - l) % 2 == 0", "(LEVELS - l) % 2 == 1"),
    ("tree", "{a[BITS-2], a} + {b", "{a[BITS-2], a} - {b"),
    ("lane", "first ? {WIDTH{1'b0}} : acc", "acc"),
    ("activate", "sticky_2 || wide[1]", "sticky_2"),
    ("activate", "wide[8:1] != 8'h7f", "wide[8:1] != 8'h7e"),
    ("activate", "value_1 & lost", "value_1 & 0"),
    ("fork", "out_ready | SELF", "out_ready"),
    ("buffer", "full ? tail : in_data", "in_data"),
    ("buffer", "full <= held && !pop && (full || push)", "full <= held && (full || push)"),
    ("elastic", "out_ready || !(&valid[STEPS-1:i])", "out_ready || !(&valid[STEPS-1:0])"),
    ("fifo", "count != MOST", "count < MOST - 1"),
    ("fifo", "head == LAST ?", "head == 3 ?"),
    ("fifo", "held <= load || (held && !pop)", "held <= load || held"),
    ("reduce", "wide > old ? wide : old", "wide > old ? old : wide"),
    ("reduce", "forward <= leaves && address == address_1", "forward <= leaves"),
]


@pytest.mark.parametrize(("harness", "right", "wrong"), WRONG)
def test_a_module_with_a_fault_is_not(harness, right, wrong):
    name = f"fl_{harness}.v"
    modules = library()
    text = modules[name].decode()
    assert right in text
    broken = {**modules, name: text.replace(right, wrong).encode()}
    claims = {"tree": 1, "activate": 1}  # which of a harness shows it
    chosen = [claim for claim in prove.CLAIMS if claim.harness == harness]
    verdict = prove.prove(chosen[claims.get(harness, 0)], broken)
    assert not verdict.proven
    # not for a want of anything else
    assert re.search(
        "proof did fail|model found: FAIL|Reached maximum|ERROR: Called with -verify", verdict.log
    )


def test_what_takes_too_long_is_not_proven():
    verdict = prove.prove(SLOW[0], most_seconds=0)
    assert not verdict.proven
    assert "does not end within 0 s" in verdict.log
