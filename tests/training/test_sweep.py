"""Sweeps: on paper, and trained with members of a few steps."""

import dataclasses
import json
import os
import signal
from pathlib import Path

import jax
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from flightnn_jax.data import DataError
from flightnn_jax.networks import Conv, GlobalAverage, Network
from flightnn_jax.training import lock, loop, plan, population, runlog, runs, sweep
from flightnn_jax.training.plan import Shard
from tests.support import training

BASE = dataclasses.replace(training.TINY, mode="budget", epochs=1)
# Compiled in a moment: one layer, and one program for all steps.
LAYER = Network("layer", (8, 8, 3), 10, (Conv(10), GlobalAverage()))
TRAINED = dataclasses.replace(BASE, network=LAYER, width=None, scheme="lightnn1", track=1.0)
FAILS = "/no/run"  # to start from


def names(*over, base=BASE):
    return [member.name for member in plan.make(base, list(map(plan.axis, over))).members]


def test_members_are_combinations_of_what_their_schemes_read():
    over = "scheme=full,lightnn2,flightnn", "budget=1,1.5", "seed=0,1"
    fl = [f"scheme=flightnn,budget={b},seed={s}" for b in (1, 1.5) for s in (0, 1)]
    others = [f"scheme={name},seed={s}" for name in ("full", "lightnn2") for s in (0, 1)]
    assert names(*over) == others + fl
    made = plan.make(BASE, [plan.axis(text) for text in over])
    assert {m.config.budget for m in made.members if m.config.scheme == "full"} == {BASE.budget}
    # In one mode thresholds are trained, in the other a budget is met.
    both = names("mode=budget,paper", "budget=1,2", "thresholds_per=layer,filter")
    budgets = ["mode=budget,budget=1", "mode=budget,budget=2"]
    assert both == [*budgets, "mode=paper,thresholds_per=layer", "mode=paper,thresholds_per=filter"]
    # Units of hardware have a device, a mean k has none.
    device = "device=XC7Z045,XC7Z020"
    *units, mean = names("budget=9 nJ,1", device)
    assert (len(units), mean) == (2, "budget=1")
    assert names("seed=1,1,0") == ["seed=1", "seed=0"]
    assert names() == ["only"]


@pytest.mark.parametrize(
    ("over", "message"),
    [
        (["budget"], "give FIELD=VALUE,VALUE"),
        (["budget=1,,2"], "give FIELD=VALUE,VALUE"),
        (["lambda=1"], "unknown fields lambda"),
        (["seed=0", "seed=1"], "'seed' is given twice"),
        (["budget=1,9"], "budget=9"),
    ],
)
def test_wrong_axes(over, message):
    with pytest.raises(ValueError, match=message):
        names(*over)


def test_names_are_directories():
    there = names("dataset=npz:/a b.npz,npz:/a_b.npz", "network=net4")
    assert len(set(there)) == 2
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.,=+-_") for name in there)
    [long] = names(f"start_from={'x' * 300}")
    assert len(long) < 200


def test_a_plan_is_kept_and_may_only_grow(tmp_path):
    workdir = tmp_path / "new" / "sweep"
    small, large = (plan.make(BASE, [("seed", s)], "data") for s in (["0"], ["0", "1"]))
    plan.write(small, workdir)
    assert plan.read(workdir) == small
    assert small.data_dir == str(Path("data").resolve())
    plan.write(large, workdir)
    assert plan.read(workdir) == large
    with pytest.raises(ValueError, match="member seed=1, which this sweep lacks"):
        plan.write(small, workdir)
    other = plan.make(TRAINED, [("seed", ["0", "1"])])
    with pytest.raises(ValueError, match="member seed=0, which this sweep trains with another"):
        plan.write(other, workdir)


def test_damaged_plans_are_told(tmp_path):
    with pytest.raises(DataError, match="say what the sweep is over"):
        plan.read(tmp_path)
    plan.write(plan.make(BASE, []), tmp_path)
    record = json.loads((tmp_path / plan.NAME).read_text())
    [member] = record["members"]
    for change in (
        {"version": 2},
        {"data_dir": 1},
        {"members": [member, member]},
        {"members": [member | {"name": "../outside"}]},
        {"members": [member | {"config": {"lamda": 1}}]},
        {"members": [{}]},
    ):
        runlog.write_json(tmp_path / plan.NAME, record | change)
        with pytest.raises(DataError, match=r"plan.json"):
            plan.read(tmp_path)


def test_states_are_those_of_directories(tmp_path):
    [member] = plan.make(BASE, []).members
    directory = tmp_path / member.name

    def state():
        return plan.state_of(member, tmp_path)[:2]

    assert state() == ("waiting", "")
    (directory / "checkpoints" / "5").mkdir(parents=True)
    assert state() == ("waiting", "goes on from step 5")
    runlog.write_json(directory / plan.FAILURE, {"error": "no data"})
    assert state() == ("failed", "no data")
    with lock.held(directory):
        name, detail = state()
        assert (name, f"pid {os.getpid()}" in detail) == ("running", True)
    assert not (directory / lock.NAME).exists()
    for config, name in ((TRAINED, "failed"), (BASE, "done")):
        runlog.write_json(directory / "result.json", {"config": config.to_dict() | {"keep": 9}})
        assert state()[0] == name
    budgets = [{"line": "10 of 9 nJ", "kept": False}, {"line": "2 of 3 kB", "kept": True}]
    record = {"config": BASE.to_dict(), "budgets": budgets}
    runlog.write_json(directory / "result.json", record)
    assert state() == ("done", "broken bound: 10 of 9 nJ")
    (directory / "result.json").write_text("{")
    assert state()[0] == "failed"


def test_shards_are_a_partition():
    members = list(range(11))
    shards = [Shard(i, 4).of(members) for i in range(4)]
    assert sorted(m for shard in shards for m in shard) == members
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_equal_programs_follow_each_other():
    over = [("seed", ["0", "1"]), ("scheme", ["lightnn1", "full"])]
    members = sweep.ordered(plan.make(BASE, over).members)
    assert [m.config.scheme for m in members] == ["lightnn1"] * 2 + ["full"] * 2
    assert [m.config.seed for m in members] == [0, 1, 0, 1]


class Sweep:
    """A sweep in a directory, and what it says."""

    def __init__(self, workdir, over):
        self.workdir, self.lines = workdir, []
        self.plan = plan.make(TRAINED, over)

    def train(self, say=None, at_once=1):
        mesh, say = training.one_device(), say or self.lines.append
        return sweep.train(self.plan, self.workdir, mesh=mesh, say=say, at_once=at_once)

    def states(self):
        return [plan.state_of(member, self.workdir) for member in self.plan.members]

    def results(self):
        return {path: path.stat().st_mtime_ns for path in self.workdir.glob("*/result.json")}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """One with a member that fails in its midst, and how many programs its steps were."""
    over = [("seed", ["0", "1"]), ("start_from", ["none", FAILS])]
    swept = Sweep(tmp_path_factory.mktemp("swept"), over)
    return swept, swept.train()


@pytest.mark.quick(0)
def test_a_member_that_fails_does_not_stop_the_others(swept):
    swept, ended = swept
    names = [state.name for state in swept.states()]
    assert names == ["done", "failed"] * 2
    assert [len(part) for part in ended[:3]] == [2, 2, 0]
    assert not ended.stopped
    rows = plan.table(swept.plan, swept.states())
    assert {len(row) for row in rows} == {6}
    assert "/no/run" in rows[2][-1]
    [line] = [line for line in swept.lines if line.startswith("[3/4] seed=1,start_from=none")]
    assert line.endswith("left")
    assert len(list(swept.workdir.glob(f"*/{sweep.INTEGERS}"))) == 2


def test_what_is_done_is_not_trained_again(swept):
    swept, _ = swept
    before = swept.results()
    ended = swept.train()
    assert swept.results() == before
    assert (ended.trained, len(ended.failed)) == ((), 2)  # it is tried again


def test_a_member_is_its_solo_run(swept, tmp_path):
    swept, _ = swept
    member = swept.plan.members[2]
    mesh = training.one_device()
    run = runs.prepare(member.config, tmp_path, mesh=mesh)
    solo = loop.fit(run)
    joint = runs.reopen(swept.workdir / member.name, mesh=mesh).last_state()
    for one, other in zip(
        jax.tree.leaves((solo.params, solo.spec, solo.batch_stats, solo.ranges)),
        jax.tree.leaves((joint.params, joint.spec, joint.batch_stats, joint.ranges)),
        strict=True,
    ):
        assert_array_equal(one, other)


@pytest.mark.slow
def test_members_at_once_are_those_alone_up_to_rounding(swept, tmp_path):
    alone, _ = swept
    joint = Sweep(tmp_path, [("seed", ["0", "1"])])
    ended = joint.train(at_once=2)
    assert len(ended.trained) == 2
    assert joint.lines[0] == "at once: seed=0, seed=1"
    assert not any("one after the other" in line for line in joint.lines)
    mesh = training.one_device()
    for member, name in zip(joint.plan.members, (0, 2), strict=True):
        workdirs = (tmp_path / member.name, alone.workdir / alone.plan.members[name].name)
        rows = [runlog.read_rows(workdir / "metrics.jsonl") for workdir in workdirs]
        assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]]
        ours, theirs = (runs.reopen(workdir, mesh=mesh).last_state() for workdir in workdirs)
        for one, other in zip(*map(jax.tree.leaves, (ours.params, theirs.params)), strict=True):
            assert_allclose(one, other, atol=1e-3)
    assert {state.name for state in joint.states()} == {"done"}


def test_what_stands_at_different_steps_is_trained_one_by_one(tmp_path):
    members = plan.make(TRAINED, [("seed", ["0", "1"])]).members
    assert sweep.alike([*members, *plan.make(BASE, []).members]) == list(members)
    made = [runs.prepare(m.config, tmp_path / m.name, mesh=training.one_device()) for m in members]
    staged = dataclasses.replace(made[0], before=made[1])
    assert not population.fit([staged, made[1]], loop.Termination(None))


@pytest.mark.quick(0)
def test_sigterm_ends_it_and_it_goes_on(swept, tmp_path):
    whole, _ = swept
    broken = Sweep(tmp_path, [("seed", ["0", "1"]), ("start_from", ["none"])])
    ended = broken.train(say=lambda text: signal.raise_signal(signal.SIGTERM))
    assert (ended.trained, ended.stopped) == ((), True)
    assert {state.name for state in broken.states()} == {"waiting"}
    with lock.held(tmp_path / broken.plan.members[0].name):
        ended = broken.train()
    assert [len(part) for part in ended[:3]] == [1, 0, 1]
    assert not broken.train().stopped
    rows = plan.table(broken.plan, broken.states())
    headings, *theirs = plan.table(whole.plan, whole.states())
    assert rows == [headings, *theirs[::2]]


def test_it_stops_within_a_member(tmp_path, monkeypatch):
    """SIGTERM that a member's own loop hears is heard by the sweep, too."""
    broken = Sweep(tmp_path, [("seed", ["0", "1"])])

    def fit(_):
        with loop.termination() as stop:
            signal.raise_signal(signal.SIGTERM)
            assert stop.received

    monkeypatch.setattr(loop, "fit", fit)
    assert broken.train().stopped
    assert len(broken.lines) == 1
