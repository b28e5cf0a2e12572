"""What runs tell of themselves is read as it is, and what is damaged is told, not raised."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax import explore
from launch import command, compare
from tests.support import finished, prepared


def test_reads_what_was_written(tmp_path):
    rows = finished.write_run(tmp_path, layers=8, epochs=7, every=3, thresholds="layer")
    run = explore.read(tmp_path)
    assert (run.name, run.top1, run.budget, run.notes) == ("FL", 0.9, None, ())
    assert (run.mean_k, run.storage_bits) == (rows[-1]["mean_k"], rows[-1]["storage_bits"])
    assert {layer.name: [layer.filters, layer.mean_k, [*layer.share]] for layer in run.layers} == {
        name: [layer["filters"], pytest.approx(layer["mean_k"]), layer["share"]]
        for name, layer in rows[-1]["layers"].items()
    }
    assert run.layers[0].label == "conv1"
    epochs, loss = run.curve("train", "loss")
    assert_array_equal(epochs, range(1, 8))
    assert_array_equal(loss, [row["train"]["loss"] for row in rows])
    epochs, thresholds = run.curve("layers", "conv2/kernel", "thresholds", 1)
    assert_array_equal(epochs, [3, 6, 7])
    assert_array_equal(
        thresholds, [rows[i]["layers"]["conv2/kernel"]["thresholds"][1] for i in (2, 5, 6)]
    )


@pytest.mark.parametrize(
    ("label", "scheme", "mean_k", "layers"),
    [("Full", "full", None, 0), ("FP 4W8A", "fp4", None, 0), ("L-1 4W8A", "lightnn1", float, 4)],
)
def test_other_schemes(tmp_path, label, scheme, mean_k, layers):
    finished.write_run(tmp_path, label, scheme)
    run = explore.read(tmp_path)
    assert run.mean_k is mean_k or type(run.mean_k) is mean_k
    assert (len(run.layers), run.budget) == (layers, None)
    assert run.curve("mean_k").epochs.size == (6 if layers else 0)


def test_a_budget(tmp_path):
    finished.write_run(tmp_path)
    assert explore.read(tmp_path).budget == 1.5


def test_a_missing_path_is_an_empty_curve(tmp_path):
    finished.write_run(tmp_path)
    run = explore.read(tmp_path)
    for path in (["none"], ["train", "loss", "deep"], ["layers", "conv1/kernel", "share", 9], [0]):
        assert run.curve(*path).epochs.size == run.curve(*path).values.size == 0


ROW = '{"epoch": 2, "train": {"loss": 0.25}}'


@pytest.mark.parametrize(
    ("text", "losses", "note"),
    [
        (ROW + "\n" + ROW[:9], [0.25], "1 of 2 lines are damaged"),
        ("null\n[]\n3\n{}\n" + ROW, [0.25], "4 of 5 lines are damaged"),
        ('{"epoch": Infinity}\n{"epoch": "x"}\n' + "[" * 100_000 + "\n" + ROW, [0.25], "3 of 4"),
        (ROW + '\n{"epoch": 3, "train": {"loss": NaN}}', [0.25], None),
        (ROW + '\n{"epoch": 3, "train": {"loss": 1' + "0" * 400 + "}}", [0.25], None),
        (ROW + '\n{"epoch": 1' + "0" * 30 + "}", [0.25], "1 of 2"),
        ('{"epoch": 3, "train": {"loss": true}}\n' + ROW, [0.25], None),
        ('{"epoch": 3, "train": {"loss": 9}}\n' + ROW, [0.25, 9], None),
        ("\0\xff\n" + ROW, [0.25], "1 of 2 lines"),
        ("", [], "is empty: there are no curves"),
        (None, [], "does not exist: there are no curves"),
    ],
)
def test_damaged_metrics_are_a_note(tmp_path, text, losses, note):
    finished.write_run(tmp_path)
    path = tmp_path / "metrics.jsonl"
    path.unlink() if text is None else path.write_text(text, encoding="latin-1")
    run = explore.read(tmp_path)
    assert_array_equal(run.curve("train", "loss").values, losses)
    assert np.all(np.diff(run.curve("train", "loss").epochs) > 0)
    if note is None:
        assert run.notes == ()
    else:
        [told] = run.notes
        assert told.startswith(str(path))
        assert note in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "result.json does not exist: name the workdir of a run that is done"),
        ("", "is damaged"),
        ('{"scheme": "FL"', "is damaged"),
        (b"\xff\xfe", "is damaged"),
        ("[]", "is no record of a run"),
        ("{}", r"is no record of a run \(KeyError: 'scheme'\): remove it and train again"),
        ('{"scheme": "FL", "test": 1}', "is no record"),
        (
            '{"scheme": "FL", "test": {"top1": 1}, "mean_k": 1, "storage_bits": 8, '
            '"layers": {"conv1": {"filters": 3, "share": ["half"]}}}',
            "is no record",
        ),
        ('{"scheme": "FL", "test": {"top1": 1}, "mean_k": "x"}', "is no record"),
    ],
)
def test_no_result_is_an_error(tmp_path, text, message):
    finished.write_run(tmp_path)
    path = tmp_path / "result.json"
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(explore.ResultError, match=message):
        explore.read(tmp_path)


def test_each_field_of_a_result_is_checked(tmp_path):
    finished.write_run(tmp_path)
    path = tmp_path / "result.json"
    record = json.loads(path.read_text())
    places = [("test", "top1"), ("mean_k",), ("storage_bits",), ("config", "budget"), ("config",)]
    places += [("layers",), ("layers", "conv1/kernel"), ("layers", "conv1/kernel", "share")]
    places += [("layers", "conv1/kernel", "filters"), ("test",)]
    for place in places:
        for bad in (float("nan"), float("inf"), -1, 10**400, "x", [["x"]], {"x": 1}, True, 3.5e99):
            if (place, bad) == (("config",), {"x": 1}):  # a record of a run without a budget
                continue
            changed = json.loads(json.dumps(record))
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = bad
            path.write_text(json.dumps(changed))
            with pytest.raises(explore.ResultError, match="is no record of a run"):
                explore.read(tmp_path)
    path.write_text("[" * 100_000)
    with pytest.raises(explore.ResultError, match="is damaged"):
        explore.read(tmp_path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(explore.ResultError, match=r"result.json is no regular file"):
        explore.read(tmp_path)


def test_no_run_is_told_in_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"), command.plain_errors():
        compare.main([str(tmp_path)])
    out, errors = capsys.readouterr()
    assert not out
    assert errors.startswith(f"error: {tmp_path} holds no run that is done")
    assert errors.count("\n") == 1


def test_names_tell_runs_apart(tmp_path):
    places = ["a/one", "b/one", "a/two", "a/full"]
    for place in places:
        finished.write_run(tmp_path / place, "Full" if place == "a/full" else "FL")
    runs = explore.read_all([tmp_path / place for place in places])
    expected = [f"FL {tmp_path / 'a/one'}", f"FL {tmp_path / 'b/one'}", "FL two", "Full"]
    assert [run.name for run in runs] == expected


def test_the_table(tmp_path):
    def changed(name, **fields):
        path = tmp_path / name / "result.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    finished.write_run(tmp_path / "full", "Full")
    finished.write_run(tmp_path / "fl", "FL", top1=0.8765)
    changed("full", storage_bits=80_000)
    changed("fl", storage_bits=8_000, mean_k=1.5)
    assert compare.table(explore.read_all([tmp_path / "full", tmp_path / "fl"])).splitlines() == [
        "model         accuracy (%)   mean k  weights (kB)",
        "Full                 90.00                   10.0",
        "FL                   87.65     1.50           1.0",
    ]
    finished.write_run(tmp_path / "a_long_name_of_a_run", "FL", top1=1)
    changed("a_long_name_of_a_run", storage_bits=123_456_000, mean_k=2)
    workdirs = [tmp_path / name for name in ("full", "fl", "a_long_name_of_a_run")]
    assert compare.table(explore.read_all(workdirs)).splitlines() == [
        "model                    accuracy (%)   mean k  weights (kB)",
        "Full                            90.00                   10.0",
        "FL fl                           87.65     1.50           1.0",
        "FL a_long_name_of_a_run        100.00     2.00       15432.0",
    ]


def test_comparing_starts_without_jax_training_and_matplotlib():
    code = (
        "import sys, launch.compare; assert not [m for m in sys.modules if m.partition('.')[0] in "
        "('jax', 'flax', 'optax', 'matplotlib') or m.startswith('flightnn_jax.training')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=prepared.ROOT)
