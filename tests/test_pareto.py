"""The undominated rows against the definition, point by point."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from flightnn_jax import pareto

check = settings(deadline=None, derandomize=True, database=None)


def dominates(a, b):
    return all(x <= y for x, y in zip(a, b, strict=True)) and tuple(a) != tuple(b)


@check
@given(
    st.integers(1, 4).flatmap(
        lambda n: st.lists(st.tuples(*[st.integers(-3, 3)] * n), min_size=1, max_size=40)
    )
)
def test_what_is_kept_is_what_nothing_dominates(points):
    kept = pareto.undominated(points)
    first = {p: points.index(p) for p in points}
    expected = {i for p, i in first.items() if not any(dominates(q, p) for q in points)}
    assert set(kept) == expected
    assert len(kept) == len(expected)
    assert [points[i] for i in kept] == sorted(points[i] for i in kept)


def test_infinity_is_a_cost():
    assert pareto.undominated([(np.inf, 0.0), (-np.inf, 1.0), (np.inf, 2.0)]) == [1, 0]


def test_nothing_to_compare():
    assert pareto.undominated([]) == []
    assert_array_equal(pareto.undominated(np.zeros((0, 3))), [])


def test_what_has_no_order():
    with pytest.raises(ValueError, match="a cost is NaN"):
        pareto.undominated([(1.0, float("nan"))])
