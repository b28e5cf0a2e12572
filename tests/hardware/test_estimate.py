"""Estimates: hand-computed numbers, properties, errors on every number, bad input, the commands."""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightnn_jax.hardware import comparison, device, estimate, report, search
from flightnn_jax.hardware.records import Design, Number, total
from flightnn_jax.hardware.styles import array as array_style
from flightnn_jax.hardware.styles import engine
from flightnn_jax.hardware.workload import Workload, from_network
from flightnn_jax.paper import audit
from flightnn_jax.paper import report as paper_report
from flightnn_jax.paper import tables as published

check = settings(deadline=None, derandomize=True, database=None)

BOARD = device.named("XC7Z045")
ROOT = pathlib.Path(__file__).parents[2]
NET1 = {s: from_network("net1", s) for s in ("full", "fp4", "lightnn2", "lightnn1")}


def test_network_7_with_a_pencil():
    costs = estimate.estimate(from_network("net7", "lightnn1").largest(), BOARD)
    # 256 filters on 128 images over 512 elements: 64 rounds of 2,304 taps at 16 positions.
    assert costs.design == Design(512, 128, (64,))
    cycles = 4.854 * 64 * 2304 * 16
    assert costs.cycles.value == pytest.approx(cycles, abs=1)
    assert costs.images_per_s.value == pytest.approx(128 * 100e6 / cycles)
    assert costs.latency_ms.value == pytest.approx(cycles / 1e5)
    assert costs.bounded_by == ("BRAM",)
    assert {n: x.value for n, x in costs.resources.items()} == {
        "BRAM": 1024, "DSP": 4, "FF": 14_336, "LUT": 57_856,
    }  # fmt: skip
    assert costs.images_per_s.factor == array_style.FITS["shift"].absolute_error


@pytest.mark.parametrize("network", range(1, 9))
def test_a_flightnn_is_lightnn1_over_mean_k(network):
    one = estimate.estimate(from_network(network, "lightnn1").largest(), BOARD)
    for mean_k in (1.25, 1.5, 2.0):
        layer = from_network(network, "flightnn", mean_k=mean_k).largest()
        ratio = one.images_per_s.value / estimate.estimate(layer, BOARD).images_per_s.value
        assert ratio == pytest.approx(mean_k, rel=0.01)
    two = estimate.estimate(from_network(network, "lightnn2").largest(), BOARD)
    assert two.images_per_s.value * 2 == pytest.approx(one.images_per_s.value, rel=0.001)
    assert two.resources == one.resources  # the same hardware, used twice


@pytest.mark.whole(1)
@pytest.mark.parametrize("style", search.STYLES)
def test_lightnns_are_flightnns(style):
    board = dataclasses.replace(BOARD, lut=10**6, ff=10**6)
    for scheme, k in (("lightnn1", 1), ("lightnn2", 2)):
        fixed = estimate.estimate(from_network("net4", scheme), board, style)
        flexible = estimate.estimate(from_network("net4", "flightnn", mean_k=k), board, style)
        assert dataclasses.replace(flexible, scheme=scheme) == fixed


def test_layers_add_up():
    array = estimate.estimate(NET1["lightnn1"], BOARD)
    assert array.cycles.value == sum(x.cycles.value for x in array.layers)
    for layer, cost in zip(NET1["lightnn1"].layers, array.layers, strict=True):
        alone = Workload("alone", "lightnn1", (layer,))
        costs = estimate.estimate(alone, BOARD, design=array.design)
        assert costs.cycles.value == cost.cycles.value
    engines = estimate.estimate(NET1["lightnn1"], BOARD, "engine")
    for name, number in engines.resources.items():
        assert number.value == sum(x.resources[name].value for x in engines.layers)
    assert engines.cycles.value == max(x.cycles.value for x in engines.layers)
    assert engines.images_per_s.value == pytest.approx(
        engines.design.batch * 100e6 / engines.cycles.value
    )
    assert engines.latency_ms.value == pytest.approx(7 * engines.cycles.value / 1e5)
    two = Workload("two", "lightnn1", from_network("net4", "lightnn1").layers[:2])
    both = estimate.estimate(two, BOARD, "hardwired")
    for name, number in both.resources.items():
        assert number.value == sum(x.resources[name].value for x in both.layers)


@settings(check, max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=8, max_size=8), st.integers(0, 7), st.integers(0, 4))
def test_cycles_grow_with_k(k, i, log_batch):
    base = from_network("net5", "flightnn", mean_k=1.0).layers[1]
    less = dataclasses.replace(base, k=tuple(k) * 8)
    more = dataclasses.replace(base, k=(*k[:i], min(k[i] + 1, 3), *k[i + 1 :]) * 8)
    counts = [array_style.cycles(x, 64, 1 << log_batch) for x in (less, more)]
    assert counts[0] <= counts[1]
    assert (counts[0] < counts[1]) or sum(k) * 8 << log_batch <= 64 * 10 or k[i] == 3


@pytest.mark.parametrize("style", ["array", "engine"])
@pytest.mark.parametrize("name", ["net1", "net4"])
def test_more_shifts_are_never_faster(name, style):
    speeds = [
        estimate.estimate(
            from_network(name, "flightnn", mean_k=k / 4), BOARD, style
        ).images_per_s.value
        for k in range(1, 9)
    ]
    assert speeds == sorted(speeds, reverse=True)


def test_the_largest_batch_by_trial():
    for name in ("net1", "net3", "net5", "net7"):
        for scheme in ("lightnn1", "fp4", "full"):
            (layer,) = from_network(name, scheme).largest().layers
            p = 128 if scheme == "full" else 512
            capacity = p * (7 if scheme == "full" else 2) * 18 * 1024
            batch = array_style.largest_batch((layer,), p, BOARD)
            fixed = 0 if batch.streamed else layer.weight_bits
            fitting = [b for b in (1 << i for i in range(20))
                       if b <= p and fixed + b * layer.map_bits <= capacity]  # fmt: skip
            assert batch.images == max(fitting)
            assert bool(batch.streamed) == (layer.weight_bits + layer.map_bits > capacity)


def test_weights_that_do_not_fit_are_noted():
    # 512 x 512 x 9 weights of 8 bits are 1,024 blocks of 18 kb to the bit: no room for maps.
    layer = from_network("net3", "lightnn2").largest()
    assert layer.layers[0].weight_bits == 1024 * 18 * 1024
    notes = estimate.estimate(layer, BOARD).notes
    assert any("weights of conv6 do not fit" in note for note in notes)
    notes = estimate.estimate(from_network("net1", "lightnn2").largest(), BOARD).notes
    assert not any("do not fit" in note for note in notes)


def test_an_anchor_takes_the_place_of_the_scale():
    first = from_network("net7", "lightnn1").largest()
    anchor = estimate.Anchor(first, 1128.0)
    same = estimate.estimate(first, BOARD, anchor=anchor)
    assert same.images_per_s.value == pytest.approx(1128)
    half = estimate.estimate(from_network("net7", "lightnn2").largest(), BOARD, anchor=anchor)
    assert half.images_per_s.value == pytest.approx(564)
    assert half.images_per_s.factor == 1.34
    fixed = estimate.estimate(from_network("net7", "fp4").largest(), BOARD, anchor=anchor)
    assert fixed.images_per_s.value == pytest.approx(1128 / 1.776)
    with pytest.raises(ValueError, match="a measured throughput is above 0"):
        estimate.estimate(first, BOARD, anchor=estimate.Anchor(first, 0.0))
    with pytest.raises(
        ValueError, match=r"anchor=1128 images.* is for the style array, not 'engine'"
    ):
        estimate.estimate(first, BOARD, "engine", anchor=anchor)


def test_options_that_a_style_does_not_read():
    layer = from_network("net4", "fp4").largest()
    for style in ("array", "hardwired"):
        message = f"multiplier=lut is for the style engine, not '{style}'; leave it out"
        with pytest.raises(ValueError, match=message):
            estimate.estimate(layer, BOARD, style, multiplier="lut")
    only = estimate.largest(layer, BOARD, "hardwired")
    assert estimate.estimate(layer, BOARD, "hardwired", design=only).design == only
    with pytest.raises(ValueError, match="hard-wired weights leave one design"):
        estimate.estimate(layer, BOARD, "hardwired", design=Design(1, 1, (1,)))


def test_errors_are_claimed_only_where_they_were_measured():
    layer = from_network("net1", "lightnn1").largest()
    assert estimate.estimate(layer, BOARD).images_per_s.factor
    assert estimate.estimate(layer, device.named("XC7Z020")).images_per_s.bar == "unverified"
    assert estimate.estimate(NET1["lightnn1"], BOARD).images_per_s.bar == "unverified"
    one = estimate.estimate(NET1["lightnn1"], BOARD, "engine", design=Design(1, 1, (10,) * 7))
    assert one.resources["LUT"].bar == "±21 %"
    assert one.cycles.bar == "exact"
    two = estimate.estimate(NET1["lightnn1"], BOARD, "engine", design=Design(1, 2, (10,) * 7))
    assert two.resources["LUT"].bar == two.cycles.bar == "unverified"
    lattice = estimate.estimate(layer, device.named("ECP5-85"), "engine")
    assert lattice.resources["LUT"].bar == "unverified"
    floats = estimate.estimate(layer.largest(), BOARD)
    assert floats.resources["FF"].bar == "unverified"


def test_the_largest_hard_wired_design_is_all_weights():
    work = Workload("x", "lightnn1", from_network("net4", "lightnn1").layers[:1])
    assert estimate.largest(work, BOARD, "hardwired") == Design(9 * 3 * 16, 1, (1,))


def test_a_shift_has_no_advantage_hard_wired():
    tables = {}
    for scheme in ("lightnn1", "fp4"):
        work = from_network("net4", scheme)
        costs = estimate.estimate(Workload("x", scheme, work.layers[1:2]), BOARD, "hardwired")
        tables[scheme] = costs.resources["LUT"].value
        assert any("4-bit fixed point costs about as little" in note for note in costs.notes)
    assert tables["fp4"] / tables["lightnn1"] < 1.35


def test_sums_and_bars_of_numbers():
    a, b, c = Number(1.0, 1.1, "a"), Number(2.0, 1.3, "b"), Number(3.0, None, "a")
    assert total([a, b]) == (3.0, 1.3, "a; b")
    assert total([a, c]).bar == "unverified"
    assert a.times(4) == (4.0, 1.1, "a")
    assert b.over(10) == (5.0, 1.3, "b")
    assert Number(5, 1.0, "").bar == "exact"
    assert a.as_json() == {"value": 1.0, "error": "±10 %", "factor": 1.1, "from": "a"}


def test_designs_that_are_given():
    layer = from_network("net7", "lightnn1").largest()
    costs = estimate.estimate(layer, BOARD, design=Design(64, 4, ()))
    assert costs.design == Design(64, 4, (16,))
    assert costs.bounded_by == ()
    work = from_network("net4", "lightnn1")
    own = Design(0, 2, (4, 4, 4, 2))
    lanes = [engine.lanes(x, r) for x, r in zip(work.layers, own.folding, strict=True)]
    assert estimate.estimate(work, BOARD, "engine", design=own).design.parallelism == 2 * sum(lanes)


@pytest.mark.parametrize(("style", "design", "message"), [
    ("array", Design(1024, 1, ()), "an array of 1024 elements takes 2,048 BRAM of 1,090"),
    ("array", Design(4, 8, ()), "batch=8 of parallelism=4"),
    ("array", Design(1, 0, ()), "batch=0"),
    ("array", Design(16, 16, ()), "the memory of 16 elements holds 2 images"),
    ("engine", Design(1, 1, (1, 1)), "2 foldings for 7 layers"),
    ("engine", Design(1, 0, (1,) * 7), "batch=0 and 7 foldings"),
    ("engine", Design(1, 1, (99,) * 7), "conv1: folding=99 is outside 1"),
    ("engine", Design(1, 50, (1,) * 7), "this design takes .* LUT of 218,600"),
    ("magic", None, "style 'magic' is unknown: choose one of array, engine, hardwired"),
])  # fmt: skip
def test_bad_designs(style, design, message):
    with pytest.raises(ValueError, match=message):
        estimate.estimate(NET1["lightnn1"], BOARD, style, design=design)


def test_a_pruned_network_takes_no_time():
    nothing = from_network("net1", "flightnn", mean_k=0.0)
    costs = estimate.estimate(nothing.largest(), BOARD)
    assert costs.cycles.value == 0
    assert costs.images_per_s.value == float("inf")
    assert any("pruned" in note for note in costs.notes)
    assert report.estimate_json(costs, nothing.largest())["images_per_s"]["value"] is None


NUMBER = re.compile(r"(?<![\w.,-])\d[\d,.]*(?![\w-])")


@pytest.mark.quick(0)
@pytest.mark.whole(1)
@pytest.mark.parametrize("network", ["net1", "net4", "net7"])
def test_the_report_says_where_shifts_lose(network):
    rows = comparison.rows(network, 1.5, BOARD)
    by = {(row.scheme, f.heading): f.value and f.value.value for row in rows for f in row.figures}
    assert by["full", "hard-wired LUT"] is None
    wired = [by[scheme, "hard-wired LUT"] for scheme in ("lightnn2", "fp4")]
    assert 1.6 < wired[0] / wired[1] < 2
    energies = [by[scheme, "ASIC nJ"] for scheme in ("lightnn2", "flightnn", "lightnn1")]
    assert energies == sorted(energies, reverse=True)
    speeds = [by[scheme, "array images/s"] for scheme in ("lightnn1", "fp4", "full")]
    assert speeds == sorted(speeds, reverse=True)
    gains = {(v.scheme, v.what): v for v in comparison.verdicts(rows)}
    assert gains["lightnn2", "hard-wired"].gain < 1
    assert gains["lightnn2", "hard-wired"].settled
    assert gains["lightnn1", "in the paper's array"].gain == pytest.approx(1.776)
    assert gains["lightnn2", "in the paper's array"].gain == pytest.approx(0.888)
    assert not gains["lightnn2", "in the paper's array"].settled
    # Two shifts in turn take the energy of a small multiplier and a wider sum.
    assert 0.8 < gains["lightnn2", "in energy on an ASIC"].gain < 0.9
    # One shift and 4-bit constants cost the same within what is known.
    assert not gains["lightnn1", "hard-wired"].settled
    text = report.comparison_text(rows)
    assert re.search(r"lightnn2 LOSES against fp4 hard-wired: 0\.5\dx\n", text)
    assert "not measured" in text
    assert all(v.scheme in text for v in gains.values())


@pytest.mark.parametrize("style", search.STYLES)
def test_every_printed_number_has_an_error(style):
    work = from_network("net4", "flightnn", mean_k=1.25).largest()
    costs = estimate.estimate(work, device.named("XCZU7EV"), style)
    text = report.estimate_text(costs, work, device.named("XCZU7EV"))
    title, _, head, bars, *rest = text.split("\n")
    assert title.startswith("net4, conv3 in flightnn on XCZU7EV at 100 MHz")
    bars = re.findall(r"exact|unverified|± ?\d+ %|within [\d.]+x", bars)
    assert len(bars) == len(re.split(r"  +", head)) - 1
    for line in rest[2:-4]:
        if NUMBER.search(line) and not line.startswith("note"):
            assert re.search(r"exact|unverified|±\d+ %|within [\d.]+x", line), line
    record = json.loads(json.dumps(report.estimate_json(costs, work)))
    for number in (record["cycles"], record["asic_nj"], *record["resources"].values(),
                   record["layers"][0]["cycles"]):  # fmt: skip
        assert number["error"]
        assert number["from"]
    assert record["mean_k"] == 1.25


def test_the_audits_text():
    text = paper_report.errors_text()
    assert "left out, all           46   39.0%" in text
    assert "103 of 107" in text
    cells = audit.cells()
    lines = paper_report.audit_text(cells).split("\n")
    assert len([x for x in lines if "  Throughput  " in x]) == len(published.results())
    for cell, line in zip(cells, lines[1:], strict=False):
        assert line.startswith(cell.table)
        assert cell.verdict in line
        assert line.endswith(cell.reason)
    assert text in "\n".join(lines)


def test_the_page_has_these_numbers():
    page = (ROOT / "docs" / "hardware.md").read_text()
    work = from_network("net1", "flightnn", mean_k=1.3).largest()
    assert report.estimate_text(estimate.estimate(work, BOARD), work, BOARD) in page
    verdicts = [cell.verdict for cell in audit.cells()]
    assert f"compares {len(verdicts)} cells" in page
    right, wrong = (verdicts.count(v) for v in (audit.REPRODUCED, audit.CONTRADICTED))
    unknown = verdicts.count(audit.NOT_VERIFIABLE)
    sentence = f"{right} are reproduced, {wrong} contradicted, and {unknown} cannot be verified"
    assert sentence in page


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_the_audit_runs():
    process = run("launch.audit", "--verdict=contradicted")
    assert process.returncode == 0, process.stderr
    assert "net 4 L-1 4W8A" in process.stdout


@pytest.mark.slow
def test_the_estimate_runs():
    config = "--config=configs/paper.py:net1,flightnn"
    process = run("launch.estimate", config, "--mean_k=1.3", "--style=engine")
    assert process.returncode == 0, process.stderr
    assert "throughput, images/s" in process.stdout
    record = json.loads(
        run("launch.estimate", config, "--mean_k=1.3", "--json", "--largest").stdout
    )
    assert record["layers"][0]["name"] == "conv6"
    for extra, message in (
        ("--device=abacus", "device 'abacus' is unknown: choose one of XC7Z045"),
        ("--mean_k=3", "mean_k=3.0 is outside 0 to 2"),
    ):
        wrong = run("launch.estimate", config, "--mean_k=1.3", extra)
        assert wrong.returncode == 2
        assert message in wrong.stderr


@pytest.mark.slow
def test_the_designs_run():
    process = run("launch.designs", "--network=net4", "--max_accuracy_loss=1")
    assert process.returncode == 0, process.stderr
    assert "flightnn" in process.stdout
    assert "unverified" in process.stdout
    process = run("launch.designs", "--network=net4", "--merits=energy_nj,accuracy_loss")
    cells = [line.split()[:6] for line in process.stdout.splitlines()[1:-1]]
    front = sorted((float(c[5].replace(",", "")), float(c[1])) for c in cells)
    assert len(front) > 2
    assert [loss for _, loss in front] == sorted((loss for _, loss in front), reverse=True)
