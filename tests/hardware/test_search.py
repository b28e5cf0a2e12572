"""The search against brute force over every batch and every folding of every layer."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightnn_jax import pareto
from flightnn_jax.hardware import asic, device, estimate, search
from flightnn_jax.hardware.device import Device
from flightnn_jax.hardware.pipeline import Pipeline, Stages
from flightnn_jax.hardware.styles import array, engine
from flightnn_jax.hardware.workload import LayerWork, Workload, from_network

check = settings(deadline=None, derandomize=True, database=None)

BOARD, SMALL = device.named("XC7Z045"), device.named("XC7Z020")


def layer(name, inputs, filters, side, k, kind="shift"):
    shapes = (side, side, inputs), (side, side, filters)
    return LayerWork(name, (3, 3, inputs, filters), 1, *shapes, kind, k, 24, 4)


def merits(choices):
    return sorted((c.images_per_s, c.latency_ms, c.utilization) for c in choices)


def undominated(points):
    """Of (images/s, ms, share): no other is at least as good in all and better in one."""
    points = set(points)
    return sorted(
        p
        for p in points
        if not any(q != p and q[0] >= p[0] and q[1] <= p[1] and q[2] <= p[2] for q in points)
    )


def brute_force(workload, board):
    """All merits of all designs that fit; sums of `Parts.of` and nothing else of the search."""
    have = tuple(board.available().values())
    ms, designs, layers = 1e-3 / board.clock_mhz, [], workload.layers
    fits, batch = True, 0
    while fits:
        fits, batch = False, batch + 1
        for rounds in itertools.product(*(range(1, x.filters + 1) for x in layers)):
            parts = [
                engine.parts(x, r, board).of(batch) for x, r in zip(layers, rounds, strict=True)
            ]
            needed = [sum(column) for column in zip(*parts, strict=True)]
            if any(n > h for n, h in zip(needed, have, strict=True)):
                continue
            fits = True
            slowest = max(engine.cycles(x, r) for x, r in zip(layers, rounds, strict=True))
            share = max(n / h for n, h in zip(needed, have, strict=True) if h)
            designs.append((1e3 * batch / (slowest * ms), len(layers) * slowest * ms, share))
    return undominated(designs)


FILTERS = st.integers(1, 5)


@st.composite
def workloads(draw):
    kind = draw(st.sampled_from(["shift", "shift", "fp4"]))
    layers, inputs = [], draw(st.integers(1, 40))
    for i in range(draw(st.integers(1, 3))):
        filters = draw(FILTERS)
        values = st.integers(0, 3) if kind == "shift" else st.just(1)
        k = tuple(draw(st.lists(values, min_size=filters, max_size=filters)))
        layers.append(layer(f"x{i}", inputs, filters, draw(st.integers(2, 9)), k, kind))
        inputs = filters * draw(st.sampled_from([1, 8, 30]))
    return Workload("random", "any", tuple(layers))


@st.composite
def boards(draw):
    return Device(
        "random",
        bram=draw(st.integers(3, 16)),
        dsp=draw(st.integers(0, 12)),
        ff=draw(st.integers(300, 3000)),
        lut=draw(st.integers(200, 3000)),
        clock_mhz=50,
        block_shapes=draw(
            st.sampled_from([((2048, 9), (1024, 18), (512, 36)), ((64, 4), (32, 8), (16, 16))])
        ),
    )


@settings(check, max_examples=75)
@given(workloads(), boards())
def test_the_front_is_that_of_brute_force(workload, board):
    expected = brute_force(workload, board)
    if not expected:
        with pytest.raises(ValueError, match="does not fit on random"):
            search.front(workload, board)
        return
    choices = search.front(workload, board)
    assert merits(choices) == expected
    for choice in choices:  # what is promised is what the design takes
        batch, folding = choice.design.batch, choice.design.folding
        parts = [
            engine.parts(x, r, board).of(batch)
            for x, r in zip(workload.layers, folding, strict=True)
        ]
        assert board.share([sum(c) for c in zip(*parts, strict=True)]) == choice.utilization
        lanes = map(engine.lanes, workload.layers, folding)
        assert choice.design.parallelism == batch * sum(lanes)
    fastest = search.fastest(workload, board)
    pairs = list(zip(workload.layers, fastest.folding, strict=True))
    parts = [engine.parts(x, r, board).of(fastest.batch) for x, r in pairs]
    slowest = max(engine.cycles(x, r) for x, r in pairs)
    speed = 1e3 * fastest.batch / (slowest * (1e-3 / board.clock_mhz))
    assert speed == pytest.approx(expected[-1][0])
    least = min(share for s, _, share in expected if s == pytest.approx(speed))
    assert board.share([sum(column) for column in zip(*parts, strict=True)]) == least


@settings(check, max_examples=60)
@given(workloads(), boards(), st.integers(1, 3), st.data())
def test_the_least_utilization_where_resources_quarrel(workload, board, batch, data):
    """Every time, also those where no resource's own choice meets the bound."""
    engines = engine.pipeline(workload, board, "dsp")
    bounds = engines.bounds(batch, engines.least(batch))
    t = data.draw(st.integers(0, len(engines.times) - 1))
    share, pick = engines.exact(batch, t, bounds)
    expected = math.inf
    for rounds in itertools.product(*(range(1, x.filters + 1) for x in workload.layers)):
        pairs = list(zip(workload.layers, rounds, strict=True))
        if max(engine.cycles(x, r) for x, r in pairs) <= engines.times[t]:
            parts = [engine.parts(x, r, board).of(batch) for x, r in pairs]
            expected = min(expected, board.share([sum(c) for c in zip(*parts, strict=True)]))
    assert share == expected or min(share, expected) > 1e200  # none of what is needed
    assert bounds.least[t] <= share
    assert len(pick) == len(workload.layers)


def test_the_fastest_is_the_first_of_the_front():
    for name, scheme in (("net1", "fp4"), ("net4", "lightnn1"), ("net5", "lightnn2")):
        work = from_network(name, scheme)
        first, design = search.front(work, SMALL)[0], search.fastest(work, SMALL)
        pairs = list(zip(work.layers, design.folding, strict=True))
        slowest = max(engine.cycles(x, r) for x, r in pairs)
        assert 1e8 * design.batch / slowest == pytest.approx(first.images_per_s)
        parts = [engine.parts(x, r, SMALL).of(design.batch) for x, r in pairs]
        assert SMALL.share([sum(c) for c in zip(*parts, strict=True)]) == first.utilization


def test_the_front_of_a_network_is_a_front():
    choices = search.front(from_network("net1", "flightnn", mean_k=1.3), BOARD)
    assert len(choices) > 10
    assert merits(choices) == undominated(merits(choices))
    assert all(c.utilization <= 1 for c in choices)
    speeds = [c.images_per_s for c in choices]
    assert speeds == sorted(speeds, reverse=True)
    half = speeds[0] / 2
    fast = search.front(from_network("net1", "flightnn", mean_k=1.3), BOARD, min_images_per_s=half)
    assert fast == [c for c in choices if c.images_per_s >= half]


def test_arrays_by_brute_force():
    work = from_network("net7", "lightnn1")
    expected = []
    for parallelism in (1 << p for p in range(10)):
        images = parallelism
        for x in work.layers:
            memory = 2 * 18 * 1024 * parallelism - x.weight_bits
            memory = memory if memory >= x.map_bits else 2 * 18 * 1024 * parallelism
            images = min(images, memory // x.map_bits)
        for batch in (1 << p for p in range(10)):
            if batch <= images:
                cycles = sum(
                    math.ceil(
                        4.854 * x.taps * x.positions * math.ceil(x.terms * batch / parallelism)
                    )
                    for x in work.layers
                )
                expected.append((1e8 * batch / cycles, cycles / 1e5, 2 * parallelism / 1090))
    choices = search.front(work, BOARD, "array")
    assert choices[0].design == estimate.largest(work, BOARD, "array")
    reached = merits(choices)
    assert reached == [pytest.approx(p) for p in undominated(expected)]


def test_hardwired_has_one_design():
    work = from_network("net4", "lightnn1").largest()
    (choice,) = search.front(work, BOARD, "hardwired")
    assert choice.design.parallelism == 9 * 32 * 64
    assert choice.images_per_s == pytest.approx(1e8 / (64 + 9))  # and a row and a pixel
    assert choice.latency_ms == pytest.approx(73e-5)


def test_networks_that_do_not_fit():
    with pytest.raises(ValueError, match=r"net7 in lightnn1 does not fit on XC7Z020 .*BRAM of 280"):
        search.front(from_network("net7", "lightnn1"), SMALL)
    with pytest.raises(ValueError, match=r"hard-wired, which takes .* LUT of 218,600"):
        search.front(from_network("net1", "lightnn1"), BOARD, "hardwired")
    with pytest.raises(ValueError, match="style 'magic' is unknown: choose one of array"):
        search.front(from_network("net1", "lightnn1"), BOARD, "magic")
    tiny = Device("tiny", bram=2, dsp=9, ff=900, lut=900, clock_mhz=100)
    with pytest.raises(ValueError, match="input and output of one image take"):
        search.front(from_network("net1", "fp4"), Device("small", 2, 3, 900, 900, 100), "array")
    with pytest.raises(ValueError, match="one element for the format 'shift' takes more BRAM"):
        array.largest_parallelism("shift", Device("none", 1, 9, 900, 900, 100))
    assert array.largest_parallelism("shift", tiny) == 1


CANDIDATES = [
    (from_network("net4", "lightnn2"), 0.06),
    (from_network("net4", "fp4"), 1.26),
    (from_network("net4", "lightnn1"), 0.8),
]


def test_schemes_are_compared_by_what_they_lose():
    choices = search.compare(CANDIDATES, SMALL)
    fronts = {w.scheme: search.front(w, SMALL) for w, _ in CANDIDATES}
    loss = {w.scheme: lost for w, lost in CANDIDATES}
    everything = [
        (c.images_per_s, c.latency_ms, c.utilization, loss[s]) for s in fronts for c in fronts[s]
    ]
    expected = {
        p
        for p in everything
        if not any(
            q != p and q[0] >= p[0] and all(a <= b for a, b in zip(q[1:], p[1:], strict=True))
            for q in everything
        )
    }
    got = [(c.images_per_s, c.latency_ms, c.utilization, c.accuracy_loss) for c in choices]
    assert set(got) == expected
    assert len(got) == len(expected)


def test_a_front_over_energy():
    """Of each scheme the fastest design, unless another scheme is faster on less energy."""
    choices = search.compare(CANDIDATES, SMALL, merits=("images_per_s", "energy_nj"))
    fastest = [search.front(w, SMALL)[0].images_per_s for w, _ in CANDIDATES]
    energies = [asic.energy(w).value for w, _ in CANDIDATES]
    expected = [
        (speed, energy)
        for speed, energy in zip(fastest, energies, strict=True)
        if not any(s > speed and e < energy for s, e in zip(fastest, energies, strict=True))
    ]
    assert [(c.images_per_s, c.energy_nj) for c in choices] == sorted(expected, reverse=True)
    (cheapest,) = search.compare(CANDIDATES, SMALL, merits=("energy_nj",))
    assert cheapest.energy_nj == min(energies)
    (only,) = search.front(CANDIDATES[0][0], SMALL, "array", merits=("energy_nj",))
    costs = estimate.estimate(CANDIDATES[0][0], SMALL, "array", design=only.design)
    assert costs.energy_nj.value == only.energy_nj == energies[0]
    with pytest.raises(ValueError, match="merits beauty are unknown: choose one of images_per_s"):
        search.front(CANDIDATES[0][0], SMALL, merits=("beauty",))


def test_a_bound_on_the_loss():
    choices = search.compare(CANDIDATES, SMALL, max_accuracy_loss=0.5)
    assert {c.scheme for c in choices} == {"lightnn2"}
    with pytest.raises(ValueError, match=r"every candidate loses more, the best 0.06"):
        search.compare(CANDIDATES, SMALL, max_accuracy_loss=0.01)
    with pytest.raises(ValueError, match="loss of lightnn1 is not known"):
        search.compare([*CANDIDATES[:2], (CANDIDATES[2][0], None)], SMALL)
    with pytest.raises(ValueError, match="no candidates"):
        search.compare([], SMALL)
    with pytest.raises(ValueError, match="does not fit"):
        search.compare(CANDIDATES, Device("small", 2, 3, 900, 900, 100))
    (work, _), slow = CANDIDATES[0], search.compare(CANDIDATES[:1], SMALL)
    assert [c.design for c in slow] == [c.design for c in search.front(work, SMALL)]


@st.composite
def quarrels(draw):
    """Options whose resources have nothing to do with each other, and a device of random size."""
    layers = []
    for _ in range(draw(st.integers(2, 4))):
        n = draw(st.integers(1, 4))
        cycles = sorted(draw(st.lists(st.integers(1, 6), min_size=n, max_size=n)))
        numbers = st.lists(st.integers(0, 30), min_size=4 * n, max_size=4 * n)
        shared, each = (np.array(draw(numbers)).reshape(n, 4) for _ in range(2))
        foldings = np.arange(1, n + 1)
        layers.append(Stages(foldings, np.array(cycles), foldings, shared, each + 1))
    have = [draw(st.integers(60, 200)) for _ in range(4)]
    return layers, Device("random", *have, clock_mhz=1)


@pytest.mark.quick(0)
@settings(check, max_examples=100)
@given(quarrels())
def test_options_that_quarrel(given_options):
    options, board = given_options
    names = [f"x{i}" for i in range(len(options))]
    work = Workload(
        "x", "x", tuple(layer(n, 1, 4 + i, 2, (1,) * (4 + i)) for i, n in enumerate(names))
    )
    engines = Pipeline(work, board, "engine", options)
    expected, batch, fits = [], 0, True
    while fits:
        fits, batch = False, batch + 1
        for pick in itertools.product(*(range(len(x.cycles)) for x in options)):
            pairs = list(zip(options, pick, strict=True))
            share = board.share(sum(x.shared[o] + batch * x.each[o] for x, o in pairs).tolist())
            slowest = max(int(x.cycles[o]) for x, o in pairs)
            if share <= 1:
                fits = True
                expected.append(
                    (1e3 * batch / (slowest * 1e-3), len(options) * slowest * 1e-3, share)
                )
    if not expected:
        with pytest.raises(ValueError, match="does not fit"):
            engines.all()
        with pytest.raises(ValueError, match="does not fit"):
            engines.fastest()
        return
    choices = merits(engines.all())
    costs = [(-speed, ms, share) for speed, ms, share in choices]
    assert sorted(choices[i] for i in pareto.undominated(costs)) == undominated(expected)
    fastest = engines.fastest()
    slowest = max(int(x.cycles[r - 1]) for x, r in zip(options, fastest.folding, strict=True))
    speed = max(e[0] for e in expected)
    assert 1e6 * fastest.batch / slowest == pytest.approx(speed)
    pairs = zip(options, fastest.folding, strict=True)
    needed = sum(x.shared[r - 1] + fastest.batch * x.each[r - 1] for x, r in pairs).tolist()
    assert board.share(needed) == min(e[2] for e in expected if e[0] == pytest.approx(speed))
