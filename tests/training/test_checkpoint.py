"""Runs that are broken off, and checkpoints that are damaged."""

import gc
import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax import data
from flightnn_jax.training import checkpoint, export, loop, runlog, runs
from flightnn_jax.training.checkpoint import CheckpointError, Checkpoints
from flightnn_jax.training.progress import Epoch, Progress
from tests.support import training
from tests.support.tiny import TINY

pytestmark = [
    pytest.mark.slow,
    # Where Orbax meets a damaged file it closes its event loop before all reads have told it.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

STATE = {
    "w": np.random.default_rng(0).normal(size=20_000),  # too many to be packed into a manifest
    "b": [np.ones(3, np.int32)],
}


def save(directory, steps, config=TINY):
    with Checkpoints(directory, config) as checkpoints:
        for step, score in steps.items():
            checkpoints.save(step, {**STATE, "w": STATE["w"] + step}, {"epoch": step}, score)


def restore(directory, config=TINY):
    with Checkpoints(directory, config) as checkpoints:
        return checkpoints.restore(STATE)


def files(directory):
    return [path for path in directory.rglob("*") if path.is_file() and path.stat().st_size > 1]


def test_keeps_the_last_and_the_best(tmp_path):
    save(tmp_path, {1: 0.1, 2: 0.9, 3: 0.5, 4: None, 5: 0.2, 6: None})
    with Checkpoints(tmp_path, TINY) as checkpoints:
        assert checkpoints.steps == [2, 5, 6]
        assert [checkpoints.find(name) for name in ("best", "last", "5")] == [2, 6, 5]
        with pytest.raises(CheckpointError, match=r"no checkpoint '1' .*: there are 2, 5, 6, last"):
            checkpoints.find("1")


def test_restores_the_last(tmp_path):
    assert restore(tmp_path) is None
    save(tmp_path, {1: 0.1, 2: 0.9})
    state, progress = restore(tmp_path)
    jax.tree.map(assert_array_equal, state, {**STATE, "w": STATE["w"] + 2})
    assert progress == {"epoch": 2}


def test_saved_numbers_are_those_of_the_call(tmp_path):
    array = np.zeros(100_000)
    with Checkpoints(tmp_path, TINY) as checkpoints:
        checkpoints.save(1, {"w": array}, {})
        array += 1  # as donated memory is written over
        checkpoints.wait()
        state, _ = checkpoints.restore({"w": array})
    assert not state["w"].any()


@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "flipped"])
def test_falls_back_to_the_last_good_one(tmp_path, damage, caplog):
    save(tmp_path, {1: 0.1})
    save(tmp_path, {2: 0.2})
    largest = max(files(tmp_path / "2" / "state"), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    if damage == "gone":
        largest.unlink()
    else:
        middle = len(data) // 2
        data[middle] ^= 0xFF
        largest.write_bytes({"cut": data[:middle], "empty": b"", "flipped": data}[damage])
    state, progress = restore(tmp_path)
    assert progress == {"epoch": 1}
    assert_array_equal(state["w"], STATE["w"] + 1)
    assert "checkpoint 2 in" in caplog.text
    assert "going on from step 1" in caplog.text
    save(tmp_path, {2: 0.2})  # the damaged one is out of the way
    assert restore(tmp_path)[1] == {"epoch": 2}
    gc.collect()  # what Orbax left open, before the next test


def test_falls_back_whatever_file_is_cut(tmp_path):
    save(tmp_path / "whole", {2: 0.2})
    names = [path.relative_to(tmp_path / "whole") for path in files(tmp_path / "whole" / "2")]
    assert len(names) > 5
    for i, name in enumerate(names):
        directory = tmp_path / str(i)
        save(directory, {1: 0.1})
        save(directory, {2: 0.2})
        chosen = directory / name
        if not chosen.exists():  # some names are random: take one of the same kind
            chosen = max(chosen.parent.iterdir(), key=lambda path: path.stat().st_size)
        os.truncate(chosen, chosen.stat().st_size // 2)
        _, progress = restore(directory)
        assert progress["epoch"] in (1, 2), name  # Orbax doesn't need all of them
    gc.collect()


def test_says_so_if_none_is_good(tmp_path):
    save(tmp_path, {1: 0.1})
    for path in files(tmp_path / "1" / "state"):
        os.truncate(path, 1)
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is whole .*: remove the"):
        restore(tmp_path)


def damaged(text):
    """Each field of a checkpoint's record missing, of another type, or with another value."""
    yield from ("", "[]", "3", "{}", "null", '"text"', "[" * 100_000, text[:-9])
    record = json.loads(text)
    for name in record:
        yield json.dumps({key: value for key, value in record.items() if key != name})
        for value in (None, 3, [], {}, "text", {"epoch": 7}):
            yield json.dumps({**record, name: value})


def test_falls_back_from_a_damaged_record(tmp_path):
    save(tmp_path / "whole", {1: 0.1})
    save(tmp_path / "whole", {2: 0.2})
    for i, text in enumerate(damaged((tmp_path / "whole/2/about/metadata").read_text())):
        directory = tmp_path / str(i)
        shutil.copytree(tmp_path / "whole", directory)
        (directory / "2/about/metadata").write_text(text)
        with Checkpoints(directory, TINY, write=False) as checkpoints:
            if '"digest"' in text or len(text) < 20:  # without, it is of an earlier version
                with pytest.raises(CheckpointError):
                    checkpoints.restore_step(2, STATE)
                assert restore(directory)[1] == {"epoch": 1}, text
    gc.collect()


def test_falls_back_from_progress_that_is_none(tmp_path):
    whole = {"epoch": {"steps": 1, "loss": 0.5}, "seconds": 2.0}
    bad = [{}, {"epoch": {"steps": 1}}, {**whole, "seconds": "1"}, {**whole, "epoch": {"x": 1}}]
    bad += [{**whole, "seconds": float("nan")}, {**whole, "epoch": {"loss": [1]}}]
    for i, progress in enumerate(bad):
        with Checkpoints(tmp_path / str(i), TINY) as checkpoints:
            checkpoints.save(1, STATE, whole)
            checkpoints.save(2, STATE, progress)
            checkpoints.wait()
            _, restored = checkpoints.restore(STATE, Progress.parse)
        assert restored == Progress(Epoch(1, 0.5), 2.0)


@pytest.mark.parametrize("score", ["[]", '{"score": "high"}', '{"score": NaN}', "{}", "{"])
def test_a_damaged_score_is_none(tmp_path, score):
    save(tmp_path, {1: 0.9, 2: 0.1, 3: None})
    (tmp_path / "1/metrics/metrics").write_text(score)
    for write in (False, True):
        with Checkpoints(tmp_path, TINY, write) as checkpoints:
            assert checkpoints.find("best") == 2


def test_what_a_save_left_that_was_broken_off_is_removed(tmp_path):
    save(tmp_path, {1: 0.1})
    shutil.copytree(tmp_path / "1", tmp_path / "2.orbax-checkpoint-tmp")
    shutil.copytree(tmp_path / "1", tmp_path / "3.orbax-checkpoint-tmp-1795810000")
    with Checkpoints(tmp_path, TINY) as checkpoints:
        assert [path.name for path in tmp_path.iterdir()] == ["1"]
        assert checkpoints.steps == [1]
    save(tmp_path, {2: 0.2})
    assert restore(tmp_path)[1] == {"epoch": 2}


def test_reading_touches_nothing(tmp_path):
    with pytest.raises(CheckpointError, match="none does not exist: train in this workdir first"):
        Checkpoints(tmp_path / "none", TINY, write=False)
    save(tmp_path, {1: 0.1, 2: 0.9, 3: 0.5})
    (tmp_path / "4.orbax-checkpoint-tmp").mkdir()  # being written by a run that trains
    (tmp_path / "3/metrics/metrics").write_text("{")

    def state():
        return {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]}

    before = state()
    with Checkpoints(tmp_path, TINY, write=False) as checkpoints:
        assert [checkpoints.find(name) for name in ("best", "last")] == [2, 3]
        assert checkpoints.restore_step(3, STATE)[1] == {"epoch": 3}
    assert state() == before


def test_a_part_can_stay_as_it_is(tmp_path):
    """What only training needs may be of another version."""
    with Checkpoints(tmp_path, TINY) as checkpoints:
        checkpoints.save(1, {"w": np.ones(2), "opt_state": {"old": np.ones(3)}}, {})
        checkpoints.wait()
        like = {"w": np.zeros(2), "opt_state": {"new": np.zeros(1)}}
        state, _ = checkpoints.restore_step(1, like, keep="opt_state")
        with pytest.raises(CheckpointError, match="another version"):
            checkpoints.restore(like)
    jax.tree.map(assert_array_equal, state, {**like, "w": np.ones(2)})


@pytest.mark.parametrize("place", ["opt_state", "opt_state.0", "opt_state.1"])
def test_adams_state_of_earlier_versions(tmp_path, monkeypatch, place):
    """It was alone in the state, then in a tuple behind those of penalties, which are empty."""
    state = {"opt_state": {"inner_states": {"mu": np.arange(3)}}, "step": np.array(4)}
    arrays = checkpoint._arrays(state)
    named = {name.replace("opt_state", place): array for name, array in arrays.items()}
    with monkeypatch.context() as patch, Checkpoints(tmp_path, TINY) as checkpoints:
        patch.setattr(checkpoint, "_arrays", lambda state: named)
        checkpoints.save(1, state, {})
        checkpoints.wait()
    restored = restore_into(tmp_path, jax.tree.map(np.zeros_like, state))
    jax.tree.map(assert_array_equal, restored, state)


def restore_into(directory, like):
    with Checkpoints(directory, TINY) as checkpoints:
        return checkpoints.restore(like)[0]


def test_the_names_of_adams_state_are_those_of_the_first_version(tmp_path):
    """They decide whether checkpoints of all versions go on."""
    for fields in ({}, {"scheme": "full"}, {"mode": "budget"}):
        names = checkpoint._arrays(training.prepare(tmp_path, **fields).initial_state())
        adams = {name for name in names if name.startswith("opt_state.")}
        inner = "opt_state.inner_states.weights.inner_state"
        assert {f"{inner}.0.mu.weights.conv1.kernel", f"{inner}.1.count"} <= adams
        assert all(name.startswith("opt_state.inner_states.") for name in adams)


def test_of_a_config_before_a_field_was_there(tmp_path):
    save(tmp_path, {1: 0.1})
    path = tmp_path / "1/about/metadata"
    about = json.loads(path.read_text())
    del about["digest"], about["config"]["budget_cost"]
    path.write_text(json.dumps(about))
    assert restore(tmp_path)[1] == {"epoch": 1}
    about["config"]["depth"] = 3
    path.write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match="depth 3 there and None here"):
        restore(tmp_path)


def test_refuses_another_config(tmp_path):
    save(tmp_path, {1: 0.1})
    other = TINY.override({"lambda1": "1e-4", "keep": "9"})
    with pytest.raises(CheckpointError) as caught:
        restore(tmp_path, other)
    assert "lambda1 3e-05 there and 0.0001 here. Go on with the config" in str(caught.value)
    assert "keep" not in str(caught.value)


def test_refuses_other_shapes(tmp_path):
    save(tmp_path, {1: 0.1})
    with (
        Checkpoints(tmp_path, TINY) as checkpoints,
        pytest.raises(CheckpointError, match=r"another version of this program: \['w'\] differ"),
    ):
        checkpoints.restore({**STATE, "w": np.ones(3)})


class StopError(Exception):
    pass


def interrupted(workdir, monkeypatch, at, exception):
    """Trains up to a step, at which the loop is told to stop, or an exception stops it."""
    run = training.prepare(workdir)
    before = loop.Loop.read

    def read(self, all_but=0):
        before(self, all_but)
        if self.step == at and all_but:
            if exception:
                raise StopError
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop.Loop, "read", read)
    try:
        assert loop.fit(run) is None
    except StopError:
        assert exception
    monkeypatch.undo()


@pytest.fixture(scope="module")
def uninterrupted(finished):
    workdir, _, state = finished
    return workdir, state


@pytest.mark.whole(2)
@pytest.mark.parametrize(
    ("at", "exception"), [(2, True), (4, True), (8, True), (4, False), (5, False)]
)
def test_resumes_to_the_same_bits(tmp_path, monkeypatch, uninterrupted, at, exception):
    """After a SIGTERM, which saves, and after a death, which does not."""
    workdir, expected = uninterrupted
    interrupted(tmp_path, monkeypatch, at, exception)
    state = loop.fit(training.prepare(tmp_path))
    jax.tree.map(assert_array_equal, state, expected)
    rows = [runlog.read_rows(path / "metrics.jsonl") for path in (tmp_path, workdir)]
    assert rows[0] == rows[1]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("rows", [None, "", "[]\n{}\nnull\n", '{"step": 1, "train": 3}\n'])
def test_lost_metrics_do_not_keep_a_run_from_its_end(tmp_path, uninterrupted, rows):
    shutil.copytree(uninterrupted[0], tmp_path / "run")
    path = tmp_path / "run" / "metrics.jsonl"
    path.unlink() if rows is None else path.write_text(rows)
    record = runs.train(training.prepare(tmp_path / "run"))
    assert record["train"] is None
    assert json.loads((tmp_path / "run/result.json").read_text()) == record
    assert record["threads"] == len(os.sched_getaffinity(0))


def test_a_run_needs_its_origin_only_to_begin(tmp_path, uninterrupted):
    shutil.copytree(uninterrupted[0], tmp_path / "origin")
    fields = {"start_from": str(tmp_path / "origin"), "epochs": 1}
    warm = tmp_path / "warm"
    with pytest.raises(data.DataError, match=r"gone/config.json does not exist"):
        training.prepare(warm, start_from=str(tmp_path / "gone"))
    record = runs.train(training.prepare(warm, **fields))
    shutil.rmtree(tmp_path / "origin")
    again = runs.train(training.prepare(warm, **fields))
    assert again["test"] == record["test"]
    evaluation = runs.evaluate(warm, mesh=training.one_device())
    assert {name: evaluation[name] for name in record["test"]} == record["test"]
    lowered = export.lower_run(warm, mesh=training.one_device())
    assert lowered.accuracy == record["test"]["top1"]


def test_goes_on_after_the_end_without_a_step(uninterrupted):
    workdir, expected = uninterrupted
    jax.tree.map(assert_array_equal, loop.fit(training.prepare(workdir)), expected)


def test_rows_after_the_checkpoint_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    with runlog.RunLog(tmp_path, 2) as log:
        log.write({"step": 3, "train": {"loss": 0.5}, "share": [1.0, 0.0]})
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert rows[-1]["share"] == [1.0, 0.0]


def test_checksums_know_names_types_and_shapes():
    arrays = {"a": np.zeros(4, np.float32), "b": np.zeros(2, np.float32)}
    others = (
        {"a": arrays["b"], "b": arrays["a"]},
        arrays | {"a": np.zeros(4, np.int32)},
        arrays | {"a": np.zeros((2, 2), np.float32)},
        arrays | {"a": np.array([0, 0, 0, -0.0], np.float32)},
    )
    sums = {checkpoint._checksum(each) for each in (arrays, *others)}
    assert len(sums) == 5
