"""Prices against what the cost models say of whole networks, and engines against their search."""

import dataclasses
import math

import numpy as np
import pytest

from flightnn_jax import networks
from flightnn_jax.hardware import demands, device, limits
from flightnn_jax.hardware.limits import Target
from flightnn_jax.hardware.workload import from_network

NET = networks.network("net4", width=16, input_shape=(8, 8, 3))
FILTERS = [step.kernel_shape[-1] for step in networks.walk_weights(NET)]
SMALL = device.named("iCE40UP5K")


def plan(text, style=None, board=SMALL, prune=False):
    (demand,) = demands.parse(text)
    return limits.plan(NET, demand, Target(demands.style_of((demand,), style), board, prune))


def work_of(rows):
    return from_network(NET, "flightnn", k=rows)


def rows_at(*counts):
    """The first filters of each layer have two terms."""
    return [(2,) * two + (1,) * (n - two) for two, n in zip(counts, FILTERS, strict=True)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("9000 nJ", ["9000 nJ"]),
        (" 9e3NJ and 40 kb ", ["9000 nJ", "40 kB"]),
        ("3400 images/s and 300000 cycles and 1.5 k and 7 LUT", None),
    ],
)
def test_reads_budgets(text, told):
    found = [str(demand) for demand in demands.parse(text)]
    assert found == (told or text.split(" and "))


@pytest.mark.parametrize(
    "text", ["", "1.5", "9 W", "-3 nJ", "0 kB", "nan nJ", "9,000 nJ", "3 k 4 k"]
)
def test_refuses_what_is_no_budget(text):
    with pytest.raises(ValueError, match=r"such as .9000 nJ., and .*images/s"):
        demands.parse(text)


def test_refuses_bounds_that_k_does_not_decide():
    with pytest.raises(ValueError, match="nJ is bounded twice"):
        demands.parse("9 nJ and 8 nJ")
    with pytest.raises(ValueError, match=r"decided by its lanes .* style hardwired"):
        demands.style_of(demands.parse("9 nJ and 90000 LUT"), "engine")
    with pytest.raises(ValueError, match="style 'big' is unknown"):
        demands.style_of(demands.parse("9 nJ"), "big")


@pytest.mark.parametrize(
    ("text", "style"), [("1.5 k", None), ("2 kB", None), ("30 nJ", None), ("60000 cycles", "array")]
)
def test_prices_add_up_to_the_cost(text, style):
    found = plan(text, style)
    (limit,) = found.limits
    for k, own in ((1, found.least), (2, found.most)):
        assert limit.total(work_of([(k,) * n for n in FILTERS])) == pytest.approx(own)
    rng = np.random.default_rng(0)
    work = work_of([tuple(rng.integers(1, 3, n).tolist()) for n in FILTERS])
    target = Target(style or "engine", SMALL)
    cost = limits.cost(work, found.demand.unit, target)
    exact = {"k": 1e-9, "kB": 1e-9, "nJ": 0.05, "cycles": 0.2}[found.demand.unit.name]
    assert limit.total(work) == pytest.approx(cost, rel=exact)


def test_storage_is_counted_by_hand():
    (limit,) = plan("2 kB").limits
    sizes = [math.prod(step.kernel_shape) for step in networks.walk_weights(NET)]
    assert limit.total(work_of(rows_at(*FILTERS))) == pytest.approx(2 * 4 * sum(sizes) / 8e3)


def test_tables_take_more_with_a_second_term():
    small = networks.network("net4", width=4, input_shape=(8, 8, 3))
    (demand,) = demands.parse("1e5 LUT")
    found = limits.plan(small, demand, Target("hardwired", SMALL))
    (limit,) = found.limits
    assert limit.constant > 0
    assert all((prices > 0).all() for prices in limit.prices.values())
    assert not found.binds
    for k, own in ((1, found.least), (2, found.most)):
        work = from_network(small, "flightnn", mean_k=k)
        assert limit.total(work) == pytest.approx(own)


@pytest.mark.parametrize("text", ["9500 images/s", "8000 images/s", "2800 cycles"])
def test_engines_keep_a_speed_with_all_that_they_have_room_for(text):
    found = plan(text)
    room = [int(limit.bound) for limit in found.limits]
    assert found.binds
    assert 0 < sum(room) < sum(FILTERS)
    target = Target("engine", SMALL)

    def keeps(counts):
        return limits.verdicts(work_of(rows_at(*counts)), [found.demand], target)[0].is_kept

    assert keeps(room)
    rng = np.random.default_rng(0)
    for _ in range(5):
        assert keeps([int(rng.integers(0, most + 1)) for most in room])
    for i, most in enumerate(room):  # there is no place where all may have two
        assert most == FILTERS[i] or not keeps([*room[:i], FILTERS[i], *room[i + 1 :]])


@pytest.mark.parametrize("text", ["9500 images/s", "8000 images/s"])
def test_narrower_sums_leave_more_room_which_keeps_the_speed(text):
    found, target = plan(text), Target("engine", SMALL)
    assert limits.with_widths(found, NET, target, ()) is found
    other, widths = plan("30 nJ"), (18, 19, 20, 21)
    assert limits.with_widths(other, NET, target, widths) is other
    more = limits.with_widths(found, NET, target, widths)
    before, after = ([int(each.bound) for each in some.limits] for some in (found, more))
    assert sum(after) > sum(before)

    def keeps(counts):
        layers = zip(work_of(rows_at(*counts)).layers, widths, strict=True)
        narrow = [dataclasses.replace(x, accumulator_bits=width) for x, width in layers]
        work = dataclasses.replace(work_of(rows_at(*counts)), layers=tuple(narrow))
        return limits.verdicts(work, [found.demand], target)[0].is_kept

    assert keeps(after)
    for i, most in enumerate(after):  # and no more could be kept
        assert most == FILTERS[i] or not keeps([*after[:i], most + 1, *after[i + 1 :]])


def test_an_even_share_of_second_terms_is_slower():
    found = plan("8000 images/s")
    room = [int(limit.bound) for limit in found.limits]
    even = from_network(NET, "flightnn", mean_k=1 + sum(room) / sum(FILTERS))
    assert limits.cost(even, found.demand.unit, Target("engine", SMALL)) < 8000


@pytest.mark.parametrize(
    ("text", "style", "message"),
    [
        ("1 kB", None, r"takes 1.494 kB at k = 1 and 2.988 at k = 2.*ask for 1.494 kB or more"),
        ("20000 images/s", None, r"engine on iCE40UP5K reaches 13,888.9 images/s.* or less"),
        ("20000 images/s", "hardwired", "does not fit"),
    ],
)
def test_what_cannot_be_reached_is_told_with_the_range(text, style, message):
    with pytest.raises(ValueError, match=message):
        plan(text, style)


def test_remedies_reach_the_bound():
    (demand,) = demands.parse("1 kB")
    target = Target("engine", SMALL)

    def narrower(width):
        return networks.network("net4", width=width, input_shape=(8, 8, 3))

    found = limits.remedies(demand, target, NET, narrower)
    assert found == ["--config.prune=true", "--config.width=12"]
    assert limits.plan(narrower(12), demand, target).least <= 1


def test_pruning_leaves_a_filter_of_each_layer_and_all_classes():
    found = plan("1 kB", prune=True)
    rows = [(1,) + (0,) * (n - 1) for n in FILTERS[:-1]] + [(1,) * FILTERS[-1]]
    assert found.least == sum(layer.weight_bits for layer in work_of(rows).layers) / 8e3


@pytest.mark.quick(0)
def test_hard_wired_speed_does_not_depend_on_k():
    found = plan("100 images/s", "hardwired", device.named("XC7Z045"))
    assert found.limits == ()
    assert found.least == found.most
