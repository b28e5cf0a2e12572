"""Fronts, hypervolumes and gains against their definitions, and their pictures."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightnn_jax import schemes
from flightnn_jax.explore import attainment, costs, fronts, members
from flightnn_jax.explore.costs import UNITS, Unit
from tests.support import sweeps

check = settings(deadline=None, derandomize=True, database=None, max_examples=50)
BOARD = sweeps.BOARD
POINTS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 4), st.integers(0, 4)), min_size=1)


@check
@given(POINTS)
def test_a_front_is_chosen_by_validation_alone(rows):
    points = [fronts.Point(cost, judged / 4, reported / 4) for cost, judged, reported in rows]
    kept = [points[i] for i in fronts.front(points)]
    for point in points:
        beaten = any(
            p.cost <= point.cost and p.judged >= point.judged and p[:2] != point[:2] for p in points
        )
        assert beaten != any(p[:2] == point[:2] for p in kept)
    assert [p.cost for p in kept] == sorted(p.cost for p in kept)


@check
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 10)), min_size=1, max_size=6))
def test_a_hypervolume_is_the_area_of_the_boxes(rows):
    """On a grid on which cells are either inside or outside of every box."""
    points = [(10.0**cost, accuracy / 10) for cost, accuracy in rows]
    reference = 10.0**6
    cells = sum(
        any(cost <= x and accuracy > y for cost, accuracy in rows)
        for x in range(6)
        for y in range(10)
    )
    assert fronts.hypervolume(points, reference) == pytest.approx(10.0 * cells)


@check
@given(st.lists(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 5)), max_size=4), min_size=1))
def test_half_of_the_seeds_attain_what_is_counted(rows):
    corners = attainment.surface(rows)
    for cost in range(1, 7):
        counts = {
            a: sum(any(c <= cost and b >= a for c, b in row) for row in rows) for a in range(6)
        }
        best = max((a for a, n in counts.items() if a and 2 * n >= len(rows)), default=None)
        assert attainment.at(corners, cost) == best
    assert corners == sorted(corners)


def test_spreads():
    assert fronts.spread([1.0]) == (1.0, None, 1)
    mean, error, seeds = fronts.spread([1.0, 2.0, 6.0])
    assert (mean, seeds) == (3.0, 3)
    assert error == pytest.approx(np.std([1, 2, 6], ddof=1) / np.sqrt(3))
    assert fronts.spread([1.0, 3.0]).text(1, "+") == "+2.0 ± 1.0 (2 seeds)"
    assert fronts.spread([1.0]).text() == "1.00 (1 seed)"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sweep")
    sweeps.write(directory)
    found, _ = members.find(directory)
    return found, [costs.of(member, BOARD) for member in found]


def of_setting(sweep):
    """The members of the larger setting."""
    places = max(fronts.settings(sweep[0]).values(), key=len)
    return [sweep[0][i] for i in places], [sweep[1][i] for i in places]


@pytest.mark.quick(0)
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.key)
def test_gains_are_above_the_line(sweep, unit):
    found, own = of_setting(sweep)
    known = fronts.points(found, own, unit)
    by_name = {found[i].name: point.cost for i, point in known.items()}
    rows = {gain.title: gain for gain in fronts.gains(found, own, unit)}
    assert rows or unit.key == "images_per_s"
    for budget in (1.25, 1.5):
        expected = []
        for seed in (0, 1):
            names = ("lightnn1", "lightnn2", f"flightnn-{budget}")
            one, two, ours = (by_name[f"{name}-s{seed}"] for name in names)
            tests = [sweeps.ACCURACIES[n][seed][1] for n in ("lightnn1", "lightnn2", budget)]
            if one <= ours <= two and one < two:
                line = tests[0] + (ours - one) / (two - one) * (tests[1] - tests[0])
                expected.append(tests[2] - line)
        title = f"FL, budget {budget}"
        assert (title in rows) == bool(expected)
        if expected:
            assert rows[title].gain.mean == pytest.approx(np.mean(expected))
            assert rows[title].gain.seeds == len(expected)


def test_volumes_are_over_seeds(sweep):
    found, own = of_setting(sweep)
    unit = UNITS[0]
    cost = {m.name: c["kb"].value for m, c in zip(found, own, strict=True)}
    rows = {row.schemes: row.volume for row in fronts.volumes(found, own, unit)}
    reference = 1.05 * cost["lightnn2-s0"]
    ends = []
    for seed in (0, 1):
        names = ("lightnn1", "lightnn2")
        one, two = (np.log10(reference / cost[f"{name}-s{seed}"]) for name in names)
        tests = [sweeps.ACCURACIES[name][seed][1] for name in ("lightnn1", "lightnn2")]
        ends.append(tests[0] * (one - two) + tests[1] * two)
    assert rows["lightnn1", "lightnn2"] == pytest.approx(fronts.spread(ends))
    assert rows["lightnn1", "lightnn2", "flightnn"].mean > rows["lightnn1", "lightnn2"].mean
    assert fronts.volumes(found, own, Unit("none", "none")) == []
    assert fronts.gains(found, own, Unit("none", "none")) == []


def test_what_half_of_three_seeds_attain(sweep):
    found, own = of_setting(sweep)
    assert fronts.attained(found, own, UNITS[0]) == {}  # two seeds
    third = [dataclasses.replace(m, seed=2) for m in found if m.seed == 1]
    every, costs_of = found + third, own + [own[i] for i, m in enumerate(found) if m.seed == 1]
    corners = fronts.attained(every, costs_of, UNITS[0])["lightnn1", "lightnn2"]
    assert [accuracy for _, accuracy in corners] == [0.94, 0.98]  # of the seed that is there twice
    (_, parts), *_ = fronts.tables(every, costs_of)
    rows = {row[0]: row[1:] for row in parts[-1]}
    assert rows["attained by half of the seeds (%)"] == ["0 %", "25 %", "50 %", "75 %", "100 %"]
    assert rows["lightnn1 + lightnn2: weights (kB)"] == [*["94.00"] * 4, "98.00"]


def test_tables_are_of_each_setting(sweep):
    text = fronts.text(*sweep)
    assert "net4 of width 8 on digits at 8x8, 3 epochs\n" in text
    assert "net4 of width 8 on digits at 8x8, 9 epochs" in text
    assert text.count("hypervolume") == 1  # the other setting has no LightNN-2
    assert "FL, budget 1.25: weights (kB)" in text


def test_every_scheme_has_a_look_of_its_own():
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    from flightnn_jax.explore import front_plots

    assert set(front_plots._LOOKS) == {scheme.name for scheme in schemes.SCHEMES}
    assert len(set(front_plots._LOOKS.values())) == len(schemes.SCHEMES)


@pytest.mark.quick(0)
def test_pictures_show_the_means(sweep, tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    from flightnn_jax import explore
    from flightnn_jax.explore import front_plots

    found, own = of_setting(sweep)
    figures = front_plots.pictures(found, own, BOARD.name)
    names = {f"accuracy_and_{of}" for of in ("weights", "energy", "tables", "throughput")}
    assert set(figures) == names
    axes = figures["accuracy_and_energy"].axes[0]
    assert axes.get_xlabel() == "energy of an image (nJ), ±40 %"
    assert axes.get_ylabel() == "test accuracy (%)"
    bars = {container.get_label(): container for container in axes.containers}
    assert list(bars) == ["Full", "L-2 8W8A", "L-1 4W8A", "FL"]
    markers = {container[0].get_marker() for container in bars.values()}
    assert len(markers) == len(bars)
    (x,), (y,) = bars["L-1 4W8A"][0].get_data()
    energies = [
        c["nj"].value for m, c in zip(found, own, strict=True) if m.scheme.name == "lightnn1"
    ]
    assert (x, y) == (pytest.approx(np.mean(energies)), 93.5)
    several = front_plots.pictures(*sweep, BOARD.name)
    assert {f"{name}_1" for name in names} < set(several)  # of two settings
    little = found[:1], [{"kb": own[0]["kb"]}]
    told = explore.draw_fronts(*little, BOARD.name, tmp_path / "plots")
    assert told == f"pictures: {tmp_path / 'plots'}"
    files = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert files == ["accuracy_and_weights.png", "accuracy_and_weights.svg"]
    (tmp_path / "file").touch()
    told = explore.draw_fronts(*little, BOARD.name, tmp_path / "file")
    assert "choose a directory by --plots" in told
