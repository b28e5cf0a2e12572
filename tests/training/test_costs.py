"""A run with a budget in units of hardware: kept at the end, and the same after an interruption."""

import shutil

import jax
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax import networks
from flightnn_jax.hardware import demands, limits, workload
from flightnn_jax.training import costs, loop, runs
from flightnn_jax.training.config import Config
from tests.support import training

LAYERS = (networks.Conv(12), networks.MaxPool(), networks.Conv(10), networks.GlobalAverage())
FIELDS = {
    "network": networks.to_dict(networks.Network("tiny", (8, 8, 3), 10, LAYERS)),
    "width": None,
    "mode": "budget",
    "budget": "40 nJ and 1.1 kB",
    "track": 1.0,  # one program
    "keep": 9,
    "evaluate_every": 2,
}


@pytest.fixture(scope="module")
def bounded(tmp_path_factory):
    """(workdir, run, record, last state) of a run that is done."""
    workdir = tmp_path_factory.mktemp("bounded")
    run = training.prepare(workdir, **FIELDS)
    state = jax.device_get(loop.fit(run))
    return workdir, run, runs.train(run), state


@pytest.mark.slow
def test_bounds_are_kept_and_used(bounded):
    _, run, record, state = bounded
    energy = run.bounds.plans[0].demand
    work = costs.work_of(run.model, state)
    spent = limits.cost(work, energy.unit, run.bounds.target)
    assert record["budgets"][0]["value"] == spent
    assert spent <= 40
    assert record["storage_bits"] / 8e3 == record["budgets"][1]["value"] <= 1.1
    assert max(spent / 40, record["storage_bits"] / 8e3 / 1.1) > 0.97
    assert 1 < record["mean_k"] < 2
    assert all(told["kept"] for told in record["budgets"])


@pytest.mark.slow
def test_the_same_after_an_interruption_in_the_last_epoch(bounded, tmp_path):
    workdir, _, _, state = bounded
    copy = shutil.copytree(workdir, tmp_path / "copy")
    for step in (9, 10):
        shutil.rmtree(copy / "checkpoints" / str(step))
    again = jax.device_get(loop.fit(training.prepare(copy, **FIELDS)))
    for got, expected in zip(*map(jax.tree.leaves, (again, state)), strict=True):
        assert_array_equal(got, expected)


def test_factors_are_planned_over_real_costs_and_move_a_fifth_at_most():
    config = Config.from_dict(training.TINY.to_dict() | FIELDS)
    network = runs.build_model(config).network
    bounds = costs.bounds_of(config, network)
    found = bounds.costed(workload.from_network(network, "flightnn", mean_k=1))
    assert costs.corrected(bounds, costs.Room(), found).factors == pytest.approx((1, 1))
    assert costs.corrected(bounds, costs.Room((2.0, 0.5)), found).factors == pytest.approx(
        (2 / 1.2, 0.6)
    )


def test_engines_are_planned_for_the_widest_sums_if_nothing_else_keeps_a_bound(monkeypatch):
    fields = {"budget": "9000 images/s", "device": "iCE40UP5K"}
    config = Config.from_dict(training.TINY.to_dict() | FIELDS | fields)
    network = runs.build_model(config).network
    bounds = costs.bounds_of(config, network)
    slow, fast = (workload.from_network(network, "flightnn", mean_k=k) for k in (2, 1))
    rooms = []

    def gates(state, room):
        rooms.append(room)
        return state

    monkeypatch.setattr(costs, "work_of", lambda *_: slow if rooms[-1].widths else fast)
    _, found = costs.settled(bounds, None, None, bounds.costed(slow), gates)
    assert found.is_kept
    own = tuple(layer.accumulator_bits for layer in slow.layers)
    assert [room.widths for room in rooms] == [own] * 5 + [()]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"budget": "8 nJ", "mode": "paper"}, "bounds with units need mode=budget"),
        ({"budget": "8 nJ", "budget_cost": "storage"}, "need budget_cost=filter"),
        ({"budget": 1.5, "prune": True}, "with budget=1.5, a mean k: .* leave them out"),
        ({"budget": 1.5, "style": "engine"}, "a mean k: .* leave them out"),
        ({"budget": "8 W"}, "units are k .*kB .*nJ"),
        ({"budget": "8 LUT", "style": "engine"}, "decided by its lanes"),
    ],
)
def test_a_config_checks_its_budget(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**{"mode": "budget", **fields})


def test_a_plain_mean_k_is_decided_by_what_it_was():
    fields = Config(mode="budget", budget=1.25).decisive()
    assert fields["budget"] == 1.25
    assert not {"style", "device", "prune"} & set(fields)
    asked = Config(mode="budget", budget="40 kB")
    assert {"style", "device", "prune"} <= set(asked.decisive())
    assert Config.from_dict(asked.to_dict()) == asked
    assert asked.bounds == demands.parse("40 kB")
    assert Config(mode="budget", budget="40 kB", scheme="lightnn1").bounds == ()


@pytest.mark.parametrize(
    "record", [{"factors": [float("nan")]}, {"widths": [0]}, {"widths": [True]}, {"factors": 3}]
)
def test_a_damaged_room_is_refused(record):
    with pytest.raises((ValueError, TypeError)):
        costs.Room.parse(record)
    assert costs.Room.parse({"factors": [1.5], "widths": [12, 9]}) == ((1.5,), (12, 9))
