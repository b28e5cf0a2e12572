"""Members of a sweep have the work of their files, and what cannot be read is told."""

import json

import numpy as np
import pytest

from flightnn_jax.explore import commands, costs, members
from flightnn_jax.hardware import asic, device, estimate, workload
from flightnn_jax.integer import files
from flightnn_jax.training.config import Config
from tests.support import sweeps

BOARD = sweeps.BOARD


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sweep")
    return directory, sweeps.write(directory)


@pytest.fixture(scope="module")
def found(sweep):
    every, notes = members.find(sweep[0])
    return {member.name: member for member in every}, notes


def test_every_run_is_found(sweep, found):
    assert list(found[0]) == sweep[1]
    assert [note for note in found[1] if "metrics" not in note] == []


def test_planned_work_has_the_k_of_the_record(sweep, found):
    member = found[0]["flightnn-1.25-s1"]
    record = json.loads((sweep[0] / member.name / "result.json").read_text())
    assert (member.seed, member.scheme.name, member.lowered) == (1, "flightnn", False)
    assert (member.title, member.judged) == ("FL, budget 1.25", 0.965)
    shares = [np.bincount(layer.k, minlength=3) / len(layer.k) for layer in member.work.layers]
    np.testing.assert_allclose(shares, [x["share"] for x in record["layers"].values()])
    assert sum(x.weight_bits for x in member.work.layers) == record["storage_bits"]
    assert found[0]["full-s0"].work == workload.from_network(
        members.network_of(Config(**sweeps.CONFIG)), "full"
    )


def test_integers_bring_their_widths(sweep, found):
    member = found[0]["lowered/seed0"]
    network = files.load(sweep[0] / "lowered" / "seed0" / "integers.safetensors")
    assert member.lowered
    assert member.work == workload.from_integers(network)
    sums = {layer.name: layer.accumulator_bits for layer in member.work.layers}
    assert {name: widths[0] for name, widths in member.widths.items()} == sums
    assert member.setting != found[0]["full-s0"].setting  # other epochs


def test_seeds_are_one_group(found):
    groups = [
        found[0][f"flightnn-{budget}-s{seed}"].group for budget in (1.25, 1.5) for seed in (0, 1)
    ]
    assert groups[0] == groups[1] != groups[2] == groups[3]


def test_costs_are_those_of_the_models(found):
    member = found[0]["lightnn1-s0"]
    own = costs.of(member, BOARD)
    assert own["kb"].value == member.run.storage_bits / 8000
    assert own["nj"] == asic.energy(member.work)
    fastest = estimate.estimate(member.work, BOARD, "engine")
    assert own["images_per_s"] == fastest.images_per_s
    boundless = device.Device("any", *[10**9] * 4, clock_mhz=100)
    assert own["lut"] == estimate.estimate(member.work, boundless, "hardwired").resources["LUT"]
    assert set(costs.of(found[0]["full-s0"], BOARD)) == {"kb", "nj", "images_per_s"}


def test_designs_that_are_alike_are_one(found):
    work = found[0]["flightnn-1.5-s0"].work
    every = costs.sheet(work, BOARD, "engine")
    some = costs.thinned(every, BOARD, 0.3)
    assert 2 < len(some.designs) < len(every.designs)
    assert costs.thinned(every, BOARD, 0.0) == every
    merits = [_merits(design) for design in some.designs]
    for design in every.designs:  # one that is kept is as good within the part
        assert (np.max(np.array(merits) / _merits(design), axis=1) <= 1.3).any()
    misfit = costs.sheet(work, device.Device("none", 0, 0, 0, 0, 100), "engine")
    assert misfit.designs == ()
    assert "does not fit on none" in misfit.reason


def _merits(design):
    return np.array(
        [1 / design.images_per_s.value, design.latency_ms.value, costs.utilization(design, BOARD)]
    )


def test_commands_train_the_same_again(found):
    program = commands.Program("0", "configs/digits.py", Config(network="net1").to_dict())
    member = found[0]["flightnn-1.25-s1"]
    (made,) = commands.made(member, program)
    words = made.replace("\\\n", " ").split()
    assert words[:4] == ["python", "-m", "launch.train", "--config=configs/digits.py"]
    flags = dict(w.removeprefix("--config.").split("=") for w in words if w.startswith("--config."))
    again = Config.from_dict(dict(program.fields)).override(flags)
    assert again.to_dict() == member.run.config
    build = commands.build(member, "XC7Z020", "engine", program)
    assert [line.split()[2] for line in build] == [
        "launch.lower",
        "launch.verify",
        "launch.estimate",
    ]
    assert commands.build(found[0]["full-s0"], "XC7Z020", "engine", program) == []
    verilog = commands.build(member, "XC7Z020", "engine", program._replace(rtl=True))[-1]
    assert "launch.rtl" in verilog


def test_what_cannot_be_read_is_a_note(tmp_path):
    sweeps.write_run(tmp_path / "good", "lightnn1")
    (tmp_path / "good" / "integers.safetensors").write_bytes(b"no integers")
    sweeps.write_run(tmp_path / "other", "lightnn2")
    sweeps.lowered(tmp_path / "lowered")
    source = tmp_path / "lowered" / "integers.safetensors"
    (tmp_path / "other" / "integers.safetensors").write_bytes(source.read_bytes())
    record = sweeps.write_run(tmp_path / "unknown", "lightnn1")
    record["config"]["field"] = 1
    (tmp_path / "unknown" / "result.json").write_text(json.dumps(record))
    for name, text in (("damaged", "{"), ("strange", json.dumps({**record, "config": {}}))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(text)
    found, notes = members.find(tmp_path)
    known = {member.name: member for member in found}
    assert sorted(known) == ["good", "lowered", "other", "unknown"]
    assert known["good"].work is not None
    assert known["unknown"].work is None
    assert set(costs.of(known["unknown"], BOARD)) == {"kb"}
    for told in (
        "good/integers.safetensors",
        "it holds another state, so lower the run again",
        "damaged/result.json is damaged",
        "strange/result.json is no record of a run: scheme 'None' is unknown",
        "unknown fields field",
    ):
        assert any(told in note for note in notes), (told, notes)


@pytest.mark.parametrize("name", ["", "empty", "absent"])
def test_no_runs_are_an_error(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"train some, or name another|is no directory"):
        members.find(tmp_path / name)
