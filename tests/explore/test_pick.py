"""The pick is the best by validation of all that meet the bounds, by trying every design."""

import pytest

from flightnn_jax.explore import costs, members, pick
from tests.support import sweeps

BOARD = sweeps.BOARD


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sweep")
    sweeps.write(directory)
    return directory, members.find(directory)[0]


@pytest.fixture(scope="module")
def table(sweep):
    """Of each member, its kB, its nJ and its designs."""
    rows = []
    for member in sweep[1]:
        own = costs.of(member, BOARD)
        designs = costs.sheet(member.work, BOARD, "engine").designs
        rows.append((member, own["kb"].value, own["nj"].value, designs))
    return rows


def picked(sweep, **bounds):
    chosen, passed = pick.best(sweep[1], BOARD, "engine", pick.Bounds(**bounds))
    return chosen, passed


def test_without_bounds_the_best_by_validation_at_its_fastest(sweep):
    chosen, passed = picked(sweep)
    assert (chosen.member.name, passed) == ("full-s0", [])
    assert chosen.design == costs.sheet(chosen.member.work, BOARD, "engine").designs[0]


@pytest.mark.parametrize(
    "bounds",
    [
        {"max_kb": 0.6},
        {"max_nj": 12.0},
        {"max_nj": 12.0, "min_images_per_s": 1e5},
        {"max_lut": 1800.0},
        {"max_share": 0.14, "max_ms": 0.12},
        {"min_images_per_s": 3e5},
    ],
)
def test_the_best_that_meets_the_bounds(sweep, table, bounds):
    limits = pick.Bounds(**bounds)

    able = {}
    for member, kb, nj, designs in table:
        able[member.name] = [
            design
            for design in designs
            if kb <= (limits.max_kb or 1e9)
            and nj <= (limits.max_nj or 1e9)
            and design.images_per_s.value >= (limits.min_images_per_s or 0)
            and design.latency_ms.value <= (limits.max_ms or 1e9)
            and design.resources["LUT"].value <= (limits.max_lut or 1e9)
            and costs.utilization(design, BOARD) <= (limits.max_share or 1)
        ]
    chosen, passed = picked(sweep, **bounds)
    some = [member for member in sweep[1] if able[member.name]]
    assert 0 < len(some) < len(sweep[1])
    assert chosen.member.judged == max(member.judged for member in some)
    assert chosen.design in able[chosen.member.name]
    assert len(passed) == sum(m.judged > chosen.member.judged for m in sweep[1])
    if "min_images_per_s" in bounds:
        shares = [costs.utilization(design, BOARD) for design in able[chosen.member.name]]
        assert costs.utilization(chosen.design, BOARD) == min(shares)


def test_nothing_meets_the_bounds(sweep):
    chosen, passed = picked(sweep, min_images_per_s=1e9)
    assert chosen is None
    assert len(passed) == len(sweep[1])
    assert all("images/s of 1,000,000,000" in line for line in passed)
