"""Runs in stages: against runs of their own, each started from the one before."""

import dataclasses
import shutil
import signal

import jax
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax.training import chain, checkpoint, lock, loop, plan, runs, stages, sweep
from flightnn_jax.training.config import Config
from tests.support import training

slow = pytest.mark.slow  # they compile three steps

FIELDS = {"scheme": "lightnn1", "stages": "full:0.34,lightnn2:0.34", "epochs": 3, "track": 1.0}


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """(workdir, record) of a run in stages."""
    workdir = tmp_path_factory.mktemp("staged")
    return workdir, runs.train(training.prepare(workdir, **FIELDS))


@slow
def test_a_run_in_stages_is_a_chain_of_runs(staged, tmp_path):
    """Each run of the chain starts from the one before, by its directory."""
    workdir, record = staged
    whole = Config.from_dict(training.TINY.to_dict() | FIELDS)
    configs = [*chain.stages_of(whole), dataclasses.replace(whole, stages=None, epochs=1)]
    assert [c.scheme for c in configs] == ["full", "lightnn2", "lightnn1"]
    assert [c.epochs for c in configs] == [1, 1, 1]
    assert len({c.seed for c in configs}) == 3
    before = None
    for number, config in enumerate(configs):
        config = dataclasses.replace(config, start_from=before)
        before = str(tmp_path / str(number))
        last = loop.fit(runs.prepare(config, before, mesh=training.one_device()))
    own = training.prepare(workdir, **FIELDS)
    jax.tree.map(assert_array_equal, loop.fit(own), last)
    assert record["test"]["float_reason"] is None
    assert record["steps"] == own.steps == last.step


@pytest.mark.exhaustive
@slow
def test_members_of_a_sweep_share_their_stages(staged, tmp_path):
    """With the bits of a run alone."""
    base = Config.from_dict(training.TINY.to_dict() | FIELDS)
    planned = plan.make(base, [plan.axis("scheme=lightnn1,lightnn2")])
    mesh = training.one_device()
    ended = sweep.train(planned, tmp_path, mesh=mesh, say=lambda _: None)
    assert ended.trained == ("scheme=lightnn1", "scheme=lightnn2")
    names = [path.name.rpartition("-")[0] for path in (tmp_path / "stages").iterdir()]
    assert sorted(names) == ["1-full", "2-lightnn2"]
    joint = runs.reopen(tmp_path / "scheme=lightnn1", mesh=mesh).last_state()
    alone = runs.reopen(staged[0], mesh=mesh).last_state()
    jax.tree.map(assert_array_equal, joint.params, alone.params)


def test_what_a_stage_does_not_read_makes_no_other_one():
    base = Config(stages="full:0.4,lightnn2:0.3", epochs=10, mode="budget")
    same = [{"scheme": "lightnn1"}, {"budget": "1.7"}, {"temperature": "2"}, {"lambda1": "0"}]
    other = [{"seed": "1"}, {"learning_rate": "1"}, {"rounding": "linear"}, {"teacher": "x"}]
    digests = {chain.digest(chain.stages_of(base.override(texts))) for texts in same}
    assert len(digests) == 1
    digests |= {chain.digest(chain.stages_of(base.override(texts))) for texts in other}
    assert len(digests) == 1 + len(other)


@slow
def test_it_waits_for_a_stage_that_another_process_trains(staged, tmp_path, monkeypatch):
    shutil.copytree(staged[0] / "stages", tmp_path / "stages")
    held = lock.held(tmp_path / "stages/2-lightnn2")
    held.__enter__()
    monkeypatch.setattr(loop.time, "sleep", lambda _: held.__exit__(None, None, None))
    again = loop.fit(training.prepare(tmp_path, **FIELDS))
    expected = loop.fit(training.prepare(staged[0], **FIELDS))
    jax.tree.map(assert_array_equal, again, expected)


@slow
def test_it_goes_on_in_the_middle_of_a_stage(staged, tmp_path, monkeypatch):
    record = staged[1]
    plain = loop.step.make_train_step
    calls = []

    def made(*arguments):
        calls.append(arguments[0].scheme)
        if calls == ["full", "lightnn2"]:
            signal.raise_signal(signal.SIGTERM)
        return plain(*arguments)

    monkeypatch.setattr(loop.step, "make_train_step", made)
    assert runs.train(training.prepare(tmp_path, **FIELDS)) is None
    assert (tmp_path / "stages/2-lightnn2/checkpoints/1").exists()
    assert not (tmp_path / "result.json").exists()
    again = runs.train(training.prepare(tmp_path, **FIELDS))
    assert calls == ["full", "lightnn2", "lightnn2", "lightnn1"]
    assert {k: again[k] for k in ("test", "train", "layers")} == {
        k: record[k] for k in ("test", "train", "layers")
    }
    with pytest.raises(checkpoint.CheckpointError, match=r"stages 'full:0\.34"):
        loop.fit(training.prepare(tmp_path, **FIELDS | {"stages": "full:0.5"}))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("full", "give SCHEME:PART between commas"),
        ("full:1.5", "give SCHEME:PART between commas"),
        ("full:nan", "give SCHEME:PART between commas"),
        ("half:0.5", "'half' is unknown"),
        ("full:0.04", "full has 0, and the scheme 10"),
        ("full:0.5,lightnn2:0.5", "full has 5, lightnn2 has 5, and the scheme 0"),
    ],
)
def test_texts_that_are_no_stages_are_refused(text, problem):
    with pytest.raises(ValueError, match=problem):
        stages.parse(text, 10)
    with pytest.raises(ValueError, match=problem):
        Config(stages=text, epochs=10)
