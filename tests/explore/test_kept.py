"""What is kept under results/: files that are valid, and documents that say what they give."""

import contextlib
import io
import json
import re
import statistics

import pytest
from absl import flags

from flightnn_jax.checker import reader
from flightnn_jax.checker.checker import check
from flightnn_jax.explore import costs, groups, members
from flightnn_jax.hardware import device, workload
from flightnn_jax.integer import files
from launch import compare
from tests.support import prepared

ROOT = prepared.ROOT
ZOO = ROOT / "results" / "zoo"
INDEX = json.loads((ZOO / "zoo.json").read_text())
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PRINTED = re.compile(
    r"^```sh\npython -m launch\.compare (results/\S+)\n```\n\n```text\n(.*?)^```$", re.M | re.S
)


def test_the_index_names_every_file():
    assert sorted(INDEX) == sorted(path.name for path in ZOO.glob("*.safetensors"))


@pytest.mark.quick(0)
@pytest.mark.whole(3)
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (i > 0)) for i, n in enumerate(sorted(INDEX))],
)
def test_a_network_of_the_zoo_is_that_of_its_record(name):
    network, told = files.load(ZOO / name), INDEX[name]
    record = json.loads((ROOT / told["record"] / "result.json").read_text())
    assert check(reader.load(ZOO / name)) == []
    assert told["accuracy"] == record["test"]["top1"] == network.provenance["accuracy_as_trained"]
    assert told["storage_kb"] == record["storage_bits"] / 8e3
    assert (
        sum(layer.weight_bits for layer in workload.from_integers(network).layers)
        == record["storage_bits"]
    )
    assert told["mean_k"] == record["mean_k"]
    assert network.provenance["config.seed"] == record["config"]["seed"]


@pytest.mark.quick(0)
def test_documents_print_what_the_records_give():
    shown = [match for path in DOCUMENTS for match in PRINTED.findall(path.read_text())]
    assert shown
    flags.FLAGS.mark_as_parsed()
    for directory, text in shown:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            compare.main([str(ROOT / directory)])
        assert out.getvalue() == text


def test_gains_of_the_distribution_loss_are_those_of_the_records():
    top1 = {
        path.parent.name: 100 * json.loads(path.read_text())["test"]["top1"]
        for path in (ROOT / "results" / "losses").glob("*/result.json")
    }
    rows = (ROOT / "docs" / "formats" / "signs.md").read_text().splitlines()
    shown = {"adam-1e-2": "Adam, 0.01", "adam-1e-3": "Adam, 0.001", "sgd-0.1": "SGD, 0.1"}
    for optimizer, label in shown.items():
        plain = [top1[f"bnn-{optimizer},seed={seed}"] for seed in range(4)]
        cells = [label, f"{statistics.mean(plain):.1f}"]
        for loss in ("released", "paper", "fixed"):
            own = [top1[f"{loss}-{optimizer},seed={seed}"] for seed in range(4)]
            gains = [a - b for a, b in zip(own, plain, strict=True)]
            error = statistics.stdev(gains) / 2
            cells.append(f"{statistics.mean(gains):+.1f} ± {error:.1f}")
        assert f"| {' | '.join(cells)} |" in rows


def test_the_readme_has_the_rows_of_the_records():
    found, _ = members.find(ROOT / "results" / "net1")
    board = device.named("XC7Z045")
    own = [costs.of(member, board, ("kb", "nj", "images_per_s")) for member in found]
    rows = ["| " + " | ".join(row) + " |" for row in groups.rows(groups.groups(found), own)]
    lines = (ROOT / "README.md").read_text().splitlines()
    start = lines.index(rows[0])
    assert lines[start + 2 : start + 1 + len(rows)] == rows[1:]
