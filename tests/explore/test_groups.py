"""Members over seeds: titles, gaps to full precision seed by seed, and the rows of a table."""

import statistics

import pytest
from absl import flags

from flightnn_jax.explore import costs, groups, members
from launch import compare
from tests.support import sweeps

FULL, PLAIN, AVERAGED = (99.0, 97.0), (96.0, 95.0), (97.0, 95.5)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        for name, scheme, values, changes in (
            ("full", "full", FULL, {}),
            ("plain", "flightnn", PLAIN, {}),
            ("averaged", "flightnn", AVERAGED, {"ema": 0.9}),
            ("longer", "lightnn1", PLAIN, {"epochs": 9}),
        ):
            accuracies = (50, values[seed])
            sweeps.write_run(place / f"{name}{seed}", scheme, seed, accuracies, **changes)
    sweeps.write_run(place / "full2", "full", 2, (50, 90))  # a seed that the others lack
    return place


@pytest.fixture(scope="module")
def found(directory):
    return members.find(directory)[0]


def test_seeds_are_one_group_and_fields_tell_groups_apart(found):
    some = groups.groups(found)
    assert [(g.title, [m.seed for m in g.members]) for g in some] == [
        ("FL, budget 1.5, ema=0.9", [0, 1]),
        ("FL, budget 1.5", [0, 1]),
        ("Full", [0, 1, 2]),
        ("L-1 4W8A", [0, 1]),
    ]
    for group in some:
        assert [found[i] for i in group.places] == list(group.members)


def test_gaps_are_taken_seed_by_seed(found):
    averaged, plain, full, longer = groups.groups(found)
    assert groups.full_precision(plain, [full, averaged, plain]) is full
    assert groups.full_precision(longer, [full, longer]) is None  # trained longer
    gaps = groups.differences(plain, full)
    assert gaps == pytest.approx([96 - 99, 95 - 97])
    assert groups.spread(gaps).error == pytest.approx(statistics.stdev(gaps) / 2**0.5)
    assert full.accuracy.mean == pytest.approx((99 + 97 + 90) / 3)
    assert full.mean_k is None
    assert 1.4 < plain.mean_k < 1.6


def test_the_full_precision_of_the_same_recipe_is_taken(tmp_path):
    for name, scheme, changes in (
        ("full", "full", {}),
        ("full-averaged", "full", {"ema": 0.9}),
        ("averaged", "lightnn1", {"ema": 0.9}),
    ):
        sweeps.write_run(tmp_path / name, scheme, **changes)
    some = groups.groups(members.find(tmp_path)[0])
    (one,) = (g for g in some if g.scheme == "lightnn1")
    assert groups.full_precision(one, some).fields["ema"] == 0.9


def test_rows_have_what_was_counted_and_modelled(found):
    own = [costs.of(member, sweeps.BOARD, ("kb", "nj")) for member in found]
    assert all(set(cost) == {"kb", "nj"} for cost in own)
    some = [g for g in groups.groups(found) if g.title != "L-1 4W8A"]
    heading, averaged, plain, full = groups.rows(some, own)
    assert heading[:4] == ["model", "seeds", "accuracy (%)", "to full"]
    assert plain[1:4] == ["2", "95.50 ± 0.50", "-2.50 ± 0.50"]
    assert averaged[3] == "-1.75 ± 0.25"
    assert full[3:5] == ["", ""]
    kb = plain[heading.index("kB")]
    assert float(kb) == pytest.approx(own[some[1].places[0]]["kb"].value, rel=1e-2)
    assert plain[-1] == ""  # no throughput was asked for


def test_a_directory_of_runs_is_compared(directory, capsys):
    flags.FLAGS.mark_as_parsed()
    compare.main([str(directory)])
    out = capsys.readouterr().out
    assert "net4 of width 8 on digits at 8x8, 3 epochs" in out
    assert "-2.50 ± 0.50" in out
    assert "beside the paper's" not in out  # a network of another size
