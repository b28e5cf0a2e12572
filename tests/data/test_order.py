"""The order of examples: every one once, the same wherever one starts."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from flightnn_jax import data


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_an_epoch_takes_every_example_once_over_all_hosts(hosts):
    order = data.TrainOrder(examples=96, batch_size=8, seed=3)
    for epoch in range(3):
        steps = range(epoch * 12, epoch * 12 + 12)
        parts = [data.share(order.rows(s), h, hosts) for s in steps for h in range(hosts)]
        assert all(len(part) == 8 // hosts for part in parts)
        assert sorted(np.concatenate(parts).tolist()) == list(range(96))


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_the_batch_does_not_depend_on_the_number_of_hosts(hosts):
    order = data.TrainOrder(examples=50, batch_size=8, seed=3)
    parts = [data.share(order.rows(17), h, hosts) for h in range(hosts)]
    np.testing.assert_array_equal(np.concatenate(parts), order.rows(17))


@hypothesis.given(st.data())
@hypothesis.settings(deadline=None, max_examples=50)
def test_train_order(draw):
    examples = draw.draw(st.integers(1, 60))
    size = draw.draw(st.integers(1, examples))
    order = data.TrainOrder(examples, size, seed=draw.draw(st.integers(0, 2**40)))
    epoch = draw.draw(st.integers(0, 1000))
    first = epoch * order.steps_per_epoch
    rows = np.concatenate([order.rows(first + i) for i in range(order.steps_per_epoch)])
    assert order.steps_per_epoch == examples // size
    assert np.unique(rows).size == rows.size == order.steps_per_epoch * size
    assert rows.min() >= 0
    assert rows.max() < examples
    again = data.TrainOrder(examples, size, order.seed)
    np.testing.assert_array_equal(again.rows(first), rows[:size])


@hypothesis.given(st.integers(0, 60), st.integers(1, 70), st.sampled_from([1, 2, 4]))
def test_evaluation_order_takes_every_example_once(examples, each, hosts):
    order = data.EvaluationOrder(examples, each * hosts)
    rows = np.concatenate(
        [data.share(order.rows(s), h, hosts) for s in range(order.steps) for h in range(hosts)]
        or [np.zeros(0, int)]
    )
    assert rows[rows >= 0].tolist() == sorted(rows[rows >= 0].tolist())
    assert sorted(rows[rows >= 0].tolist()) == list(range(examples))
    assert len(rows) - examples < each * hosts


def test_epochs_and_seeds_differ():
    order = data.TrainOrder(examples=100, batch_size=100, seed=0)
    other = data.TrainOrder(examples=100, batch_size=100, seed=1)
    orders = [order.rows(0), order.rows(1), other.rows(0), other.rows(1), np.arange(100)]
    for i, first in enumerate(orders):
        for second in orders[:i]:
            assert (first == second).sum() < 10


def test_the_order_is_pinned():
    # Resuming with another version of NumPy must not change it.
    assert data.TrainOrder(examples=8, batch_size=8, seed=5).rows(2).tolist() == [
        4,
        7,
        6,
        0,
        1,
        5,
        2,
        3,
    ]


def test_random_numbers_of_a_step():
    order = data.TrainOrder(examples=1000, batch_size=500, seed=0)
    numbers = order.uniform(7, 5)
    assert numbers.shape == (500, 5)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 0.02
    np.testing.assert_array_equal(order.uniform(7, 5), numbers)
    assert (order.uniform(8, 5) != numbers).all()


@pytest.mark.parametrize("size", [0, -1, 11])
def test_batch_sizes_that_cannot_be(size):
    with pytest.raises(ValueError, match=rf"batch_size={size} of 10 training examples: .*choose"):
        data.TrainOrder(examples=10, batch_size=size, seed=0)


def test_other_bad_input():
    with pytest.raises(ValueError, match="seed=-1: a seed is 0 or more"):
        data.TrainOrder(examples=10, batch_size=5, seed=-1)
    with pytest.raises(ValueError, match="batch_size=0: a batch takes at least one"):
        data.EvaluationOrder(examples=10, batch_size=0)
    with pytest.raises(ValueError, match="batch of 10 examples does not divide by 4 processes: "):
        data.share(np.arange(10), 0, 4)
