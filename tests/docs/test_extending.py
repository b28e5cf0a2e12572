"""What docs/extending.md adds is known to the rest as soon as it is in its place."""

import types

import pytest

from flightnn_jax.hardware import comparison, device, estimate, search, styles, workload
from tests import test_readme


def module_of(words):
    """The program of docs/extending.md that has these words, as a module."""
    [code] = [
        block.code
        for block in test_readme.PROGRAMS
        if block.document == "docs/extending.md" and words in block.code
    ]
    module = types.ModuleType("extension")
    exec(code, vars(module))
    return module


@pytest.mark.quick(0)
def test_a_style_is_known_to_estimates_searches_and_comparisons(monkeypatch):
    monkeypatch.setitem(styles.STYLES, "serial", module_of("OPTIONS = ()"))
    board = device.named("XC7Z045")
    work = workload.from_network("net4", "lightnn2")
    costs = estimate.estimate(work, board, "serial")
    assert costs.cycles.value == 2 * sum(x.taps * x.filters * x.positions for x in work.layers)
    [choice] = search.front(work, board, "serial")
    assert choice.images_per_s == costs.images_per_s.value
    gained = [
        v for v in comparison.verdicts(comparison.rows("net4", 1.5, board)) if "after" in str(v)
    ]
    assert len(gained) == 6  # L-2, FL, L-1, BC and both BNN against fixed point
