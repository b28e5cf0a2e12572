"""What every style of design must answer, and what a new one costs."""

import types

import pytest

from flightnn_jax.hardware import asic, comparison, device, estimate, report, search, styles
from flightnn_jax.hardware.records import Choice, Design, Number
from flightnn_jax.hardware.styles import base
from flightnn_jax.hardware.styles.base import Figure
from flightnn_jax.hardware.workload import from_network

BOARD = device.named("XC7Z045")
WORK = from_network("net4", "flightnn", mean_k=1.3).largest()

# A style as a user would write it: one adder for the whole layer, which takes term after term.
# Nothing in the package knows of it.
SLOW = types.ModuleType("slow")
SLOW.OPTIONS = ()
ONE = Design(1, 1, (1,))


def slow_designs(workload, device, options):
    costs = slow_estimate(workload, device, None, options)
    speed, energy = costs.images_per_s.value, costs.energy_nj.value
    share = device.share([n.value for n in costs.resources.values()])
    latency = costs.latency_ms.value
    return [Choice(workload.name, workload.scheme, "slow", ONE, speed, latency, share, energy)]


def slow_estimate(workload, device, design, options):
    del options
    needed = base.named([1, 0, 40, 60], dict.fromkeys(("BRAM", "DSP", "FF", "LUT")), "a guess")
    layers = [base.layer_cost(x, Number(x.operations, None, ""), needed) for x in workload.layers]
    ms = layers[0].cycles.times(1e-3 / device.clock_mhz)
    return base.pipelined(workload, device, "slow", design or ONE, layers, latency_ms=ms)


SLOW.designs, SLOW.estimate = slow_designs, slow_estimate
SLOW.largest = lambda workload, device, options: ONE
SLOW.figures = lambda workload, device: (
    Figure("slow ops", Number(workload.layers[0].operations, 1.0, ""), "slowly", workload.mean_k),
)


@pytest.fixture(params=[*styles.STYLES, "slow"])
def style(request, monkeypatch):
    monkeypatch.setitem(styles.STYLES, "slow", SLOW)
    return request.param


def test_a_design_costs_what_the_search_says(style):
    choices = search.front(WORK, BOARD, style)
    assert {c.style for c in choices} == {style}
    assert choices[0].design == estimate.largest(WORK, BOARD, style)
    for choice in (choices[0], choices[-1]):
        costs = estimate.estimate(WORK, BOARD, style, design=choice.design)
        assert costs.design == choice.design
        assert costs.images_per_s.value == pytest.approx(choice.images_per_s)
        assert costs.latency_ms.value == pytest.approx(choice.latency_ms)
        share = BOARD.share([n.value for n in costs.resources.values()])
        assert share == pytest.approx(choice.utilization)
        assert costs.energy_nj.value == choice.energy_nj


def test_energy_is_that_of_the_arithmetic(style):
    costs = estimate.estimate(WORK, BOARD, style)
    (layer,) = costs.layers
    assert layer.energy_nj == asic.layer_energy(WORK.layers[0])
    assert costs.energy_nj == asic.energy(WORK)


def test_the_default_is_the_largest_design(style):
    largest = estimate.largest(WORK, BOARD, style)
    costs = estimate.estimate(WORK, BOARD, style)
    assert costs == estimate.estimate(WORK, BOARD, style, design=largest)
    assert f"style {style}: " in report.estimate_text(costs, WORK, BOARD)


@pytest.mark.quick(0)
@pytest.mark.whole(2)
def test_every_style_is_compared(style):
    rows = comparison.rows("net4", 1.3, BOARD)
    headings = [figure.heading for figure in styles.STYLES[style].figures(WORK, BOARD)]
    for row in rows:
        shown = [figure.heading for figure in row.figures]
        assert len(set(shown)) == len(shown)
        assert set(headings) <= set(shown)
    text = report.comparison_text(rows)
    assert all(heading in text for heading in headings)


def test_a_new_style_gains_where_its_figures_say(monkeypatch):
    monkeypatch.setitem(styles.STYLES, "slow", SLOW)
    gains = {
        (v.scheme, v.what): v.gain for v in comparison.verdicts(comparison.rows("net4", 1.3, BOARD))
    }
    assert gains["lightnn2", "slowly"] == pytest.approx(0.5)
    assert gains["lightnn1", "slowly"] == pytest.approx(1)
