"""Records in a workdir that are damaged, or of another version."""

import dataclasses
import json
import os
import sys

import pytest

from flightnn_jax import data
from flightnn_jax.networks import to_dict
from flightnn_jax.training import runlog, runs
from flightnn_jax.training.config import Config
from tests.support import training
from tests.support.tiny import TINY
from tests.training.test_own_runs import NETWORK

BAD = [float("nan"), float("inf"), -1, -0.5, 10**400, "x", "", [], [1], ["x"], {}, {"x": 1}, True]
FIELDS = [field.name for field in dataclasses.fields(Config)]
# (field, value) that are right
RIGHT = {
    ("clamp", True),
    ("start_from", "x"),
    ("teacher", "x"),
    ("filter_scales", True),
    ("device", "x"),  # a name, looked up where a budget needs the device
    ("decay_at", "()"),
    ("decay_at", "(1,)"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_of_a_config_is_checked(name):
    record = TINY.to_dict() | {"network": "net4", "width": 8}
    for bad in [*BAD, None]:
        value = str(tuple(bad)) if isinstance(bad, list) else bad
        default = getattr(Config, name)
        if (bad is None and default is None) or (value.__hash__ and (name, value) in RIGHT):
            Config.from_dict({**record, name: bad})
            continue
        if name == "width" and bad is None:
            continue
        with pytest.raises(
            ValueError, match=rf"{name}|unknown|classes|the network|layer"
        ) as caught:
            Config.from_dict({**record, name: bad})
        assert len(str(caught.value)) < 500


def test_each_part_of_a_network_record_is_checked():
    record = json.loads(json.dumps(to_dict(NETWORK)))

    def places(value, path=()):
        yield path
        keys = {dict: list, list: lambda parts: range(len(parts))}.get(type(value), lambda _: ())
        for key in keys(value):
            yield from places(value[key], (*path, key))

    for path in list(places(record))[1:]:
        for bad in BAD:
            changed = json.loads(json.dumps(record))
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            if path[-1] == "name" and isinstance(bad, str) and bad:
                continue
            if (path[-1], bad) in (("slope_exponent", -1), ("stride", 10**400)):
                continue
            inner[path[-1]] = bad
            with pytest.raises(ValueError):
                Config.from_dict({"network": changed, "dataset": "npz:own.npz"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "config.json is damaged"),
        ("{", "config.json is damaged"),
        ("[]", r"is damaged \(\[\] is no object\): remove it and train again"),
        ("3", "3 is no object"),
        ("null", "None is no object"),
        ("[" * 100_000, "config.json is damaged"),
        ('{"epochs": 1' + "0" * 5000 + "}", "config.json is damaged"),
        ('{"depth": 3}', "config.json: the config has the unknown fields depth: another version"),
        ('{"scheme": "later"}', "config.json: scheme 'later' is unknown: choose one of full"),
        ('{"epochs": "2"}', "config.json: epochs='2': the field takes a whole number"),
        ('{"network": {"name": "later"}}', "config.json: the network: missing"),
        (b"\xff\xfe", "config.json is damaged"),
        (None, "config.json does not exist: is its directory the workdir of a run"),
        ("pipe", "config.json is no regular file"),
    ],
)
def test_a_config_file_is_told_in_one_line(tmp_path, text, message):
    path = tmp_path / "config.json"
    if text == "pipe":
        os.mkfifo(path)
    elif text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(data.DataError, match=message) as caught:
        runs.evaluate(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", '{"data_dir": 3}', '{"data_dir": ["x"]}', "{", ""])
def test_a_record_of_the_data_is_told_in_one_line(tmp_path, text):
    (tmp_path / "data.json").write_text(text)
    with pytest.raises(data.DataError, match=r"data.json is damaged"):
        training.prepare(tmp_path)


def test_a_long_record_is_not_read(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("{}" + " " * (1 << 24))
    with pytest.raises(data.DataError, match="has more than 16777216 bytes"):
        runlog.read_json(path)


def test_rows_that_are_none_are_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = [
        '{"step": 1}',
        "[]",
        "3",
        '{"step": "2"}',
        '{"step": true}',
        "[" * 100_000,
        "{}",
        "\xff",
    ]
    path.write_text("\n".join([*rows, '{"step": 2}', '{"step": 3']), encoding="latin-1")
    assert runlog.read_rows(path) == [{"step": 1}, {"step": 2}]
    assert runlog.read_rows(path, 1) == [{"step": 1}]


def test_what_is_written_is_json(tmp_path):
    record = {"loss": float("inf"), "rows": [{"top1": float("nan")}, 1]}
    runlog.write_json(tmp_path / "result.json", record)
    with runlog.RunLog(tmp_path, 0) as log:
        log.write({"step": 1, **record})
    expected = {"loss": None, "rows": [{"top1": None}, 1]}
    assert runlog.read_json(tmp_path / "result.json") == expected
    assert runlog.read_rows(tmp_path / "metrics.jsonl") == [{"step": 1, **expected}]


def test_without_tensorboardx_rows_are_written_all_the_same(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with runlog.RunLog(tmp_path, 0) as log:
        log.write({"step": 1, "loss": 0.5})
    assert runlog.read_rows(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 0.5}]
    assert [each.name for each in tmp_path.iterdir()] == ["metrics.jsonl"]
    assert "tensorboardX is not installed" in caplog.text
