"""The commands explore and pick as a user types them."""

import json

import pytest

from flightnn_jax.explore import members, pick
from tests.support import commands, sweeps


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    sweeps.write(place / "sweep")
    fields = {n: value for n, value in vars(sweeps.BOARD).items() if n != "block_shapes"}
    (place / "board.json").write_text(json.dumps(fields))
    # A run without a network has no figures but its storage, so little is drawn.
    record = sweeps.write_run(place / "few" / "one", "lightnn1")
    del record["config"]["network"]
    record["config"]["image_size"] = 7
    (place / "few" / "one" / "result.json").write_text(json.dumps(record))
    (place / "few" / "one" / "rtl").mkdir()
    (place / "few" / "one" / "rtl" / "top.v").write_text("module top;\nendmodule\n")
    return place


@pytest.fixture(scope="module")
def ended(place):
    board, sweep = f"--device={place / 'board.json'}", place / "sweep"
    names = {
        "explore": ["explore", place / "few", f"--devices={place / 'board.json'}"],
        "two": ["explore", place / "few", sweep],
        "marble": ["explore", sweep, "--styles=marble"],
        "config": ["explore", sweep, "--devices=iCE40UP5K", "--config.seed=1"],
        "none": ["explore", place / "few" / "one" / "rtl"],
        "pick": ["pick", sweep, "--max_nj=12", board],
        "nothing": ["pick", sweep, "--max_kb=0.001", board],
    }
    return dict(zip(names, commands.run(list(names.values())), strict=True))


def test_explore_writes_a_page_and_pictures(place, ended):
    code, out, errors = ended["explore"]
    assert (code, errors) == (0, "")
    lines = out.splitlines()
    page = place / "few" / "explorer.html"
    assert lines[-1] == f"explorer: {page} ({page.stat().st_size / 1e6:.2f} MB)"
    assert "no costs but storage" in next(line for line in lines if line.startswith("note: "))
    text = page.read_text()
    assert f'"folder":"{place}/few/one/rtl","files":1,"lines":2,"bytes":22' in text
    assert "launch.rtl" in text
    if not lines[-2].startswith("no pictures: matplotlib"):
        pictures = sorted(path.name for path in (place / "few" / "explorer").iterdir())
        assert pictures == ["accuracy_and_weights.png", "accuracy_and_weights.svg"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("two", "give one directory of runs, not 2"),
        ("marble", "style 'marble' is unknown: choose of array, engine, hardwired"),
        ("config", "--config.seed: runs that are done have their configs, so leave it out"),
        ("none", "holds no run that is done, which is a folder with a result.json"),
        ("nothing", "no run meets the bounds: loosen one. The best by validation: full-s0: "),
    ],
)
def test_wrong_input_is_one_line(ended, name, message):
    code, out, errors = ended[name]
    assert code == 2
    assert errors.startswith("error: ")
    assert message in errors
    assert errors.count("\n") == 1
    assert "explorer:" not in out


def test_pick_prints_a_network_and_its_commands(place, ended):
    code, out, errors = ended["pick"]
    assert (code, errors) == (0, "")
    found, _ = members.find(place / "sweep")
    bounds = pick.Bounds(max_nj=12)
    chosen, passed = pick.best(found, sweeps.BOARD, "engine", bounds)
    lines = out.splitlines()
    assert lines[: len(passed)] == [f"better, but beyond the bounds: {line}" for line in passed]
    assert lines[len(passed)].startswith(f"{chosen.member.name}: ")
    words = " ".join(out.replace("\\", "").split())
    workdir = place / "sweep" / chosen.member.name
    for command in ("train --config=configs/digits.py", "lower", "rtl --integers=" + str(workdir)):
        assert f"python -m launch.{command}" in words
    assert f"--workdir={workdir}" in words
