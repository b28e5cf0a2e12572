"""A directory of finished runs, as a sweep leaves them: made up, small, and costed in a moment."""

import itertools
import json
import tempfile
from pathlib import Path

import numpy as np

from flightnn_jax import networks
from flightnn_jax.explore import members
from flightnn_jax.explore.commands import Program
from flightnn_jax.explore.page import document, records
from flightnn_jax.hardware import workload
from flightnn_jax.hardware.device import Device
from flightnn_jax.integer import files
from flightnn_jax.training.config import Config, network_of
from tests.support import networks_at_random

BOARD = Device("small", bram=140, dsp=60, ff=30000, lut=20000, clock_mhz=100)  # few designs fit
CONFIG = {
    "network": "net4",
    "width": 8,
    "dataset": "digits",
    "image_size": 8,
    "epochs": 3,
    "mode": "budget",
}
PROGRAM = Program("0.0", "configs/digits.py", Config(network="net1").to_dict())
LABELS = {"full": "Full", "fp4": "FP 4W8A", "lightnn2": "L-2 8W8A", "lightnn1": "L-1 4W8A"}
# {scheme, or a flightnn's budget: (validation, test) of each seed}, in percent
ACCURACIES = {
    "full": [(99, 98.5)],
    "lightnn2": [(98, 97), (97, 98)],
    "lightnn1": [(94, 93), (95, 94)],
    1.25: [(96, 96), (96.5, 95)],
    1.5: [(97.5, 97.5), (97, 96.5)],
}


def write(directory):
    """Writes a run for each accuracy, and one whose integers are there; returns the names."""
    names = []
    for kind, seeds in ACCURACIES.items():
        for seed, accuracies in enumerate(seeds):
            scheme, budget = (kind, 1.5) if isinstance(kind, str) else ("flightnn", kind)
            name = f"{scheme}-{budget}-s{seed}" if scheme == "flightnn" else f"{scheme}-s{seed}"
            write_run(directory / name, scheme, seed, accuracies, budget)
            names.append(name)
    lowered(directory / "lowered" / "seed0")
    return sorted([*names, "lowered/seed0"])


def write_run(workdir, scheme, seed=0, accuracies=(96, 95), budget=1.5, **changes):
    """Writes config and result of one run; the first layers of a flightnn have the second terms."""
    config = Config(**{**CONFIG, "scheme": scheme, "seed": seed, "budget": budget, **changes})
    steps = list(networks.walk_weights(network_of(config)))
    filters = [step.kernel_shape[-1] for step in steps]
    ks = _k(scheme, budget, filters)
    work = workload.from_network(network_of(config), scheme, k=ks if scheme == "flightnn" else None)
    layers = {}
    if scheme in ("lightnn1", "lightnn2", "flightnn"):
        for step, k in zip(steps, ks, strict=True):
            share = np.bincount(k, minlength=3) / len(k)
            layers[f"{step.name}/kernel"] = {
                "filters": len(k), "mean_k": float(np.mean(k)), "share": share.tolist(),
                "thresholds": None,
            }  # fmt: skip
    record = {
        "config": config.to_dict(),
        "scheme": LABELS.get(scheme, "FL"),
        "validation": {"loss": 0.2, "top1": accuracies[0] / 100, "top5": 1.0},
        "test": {"loss": 0.2, "top1": accuracies[1] / 100, "top5": 1.0},
        "mean_k": float(np.mean(np.concatenate(ks))) if layers else None,
        "storage_bits": sum(layer.weight_bits for layer in work.layers),
        "layers": layers,
    }
    workdir.mkdir(parents=True)
    (workdir / "result.json").write_text(json.dumps(record))
    (workdir / "metrics.jsonl").write_text("")
    (workdir / "data.json").write_text('{"data_dir": null}')
    return record


def _k(scheme, budget, filters):
    """Rows of k: as many twos as the budget allows, from the first filter on."""
    if scheme != "flightnn":
        return [[2 if scheme == "lightnn2" else 1] * n for n in filters]
    twos = round((budget - 1) * sum(filters))
    flat = np.repeat([2, 1], [twos, sum(filters) - twos]).tolist()
    ends = np.cumsum([0, *filters])
    return [flat[a:b] for a, b in itertools.pairwise(ends)]


def lowered(workdir):
    """A run of another network, with an integer network of random weights beside it."""
    network = networks_at_random.random_network(seed=3)
    record = write_run(workdir, "flightnn", accuracies=(97, 99), epochs=9)
    work = workload.from_integers(network)
    record["storage_bits"] = sum(layer.weight_bits for layer in work.layers)
    (workdir / "result.json").write_text(json.dumps(record))
    files.save(network, workdir / "integers.safetensors")
    return network


def many(networks=400, designs=25):
    """A page of networks that are copies of one, with other accuracies and faster designs."""
    with tempfile.TemporaryDirectory() as directory:
        write_run(Path(directory) / "one", "flightnn")
        (member,), _ = members.find(directory)
    sheets = records.costed([member], [BOARD], ["engine"])
    own = records.Sweep([member], sheets, [BOARD], ["engine"], PROGRAM, [])
    data = records.of(own, 0.0)
    (record,) = data["members"]
    (sheet,) = record["sheets"]
    where = [i % sheet["count"] for i in range(designs)]

    def taken(column):
        return [column[i] for i in where] if isinstance(column, list) else column

    for key in ("batch", "ips", "ms", "BRAM", "DSP", "FF", "LUT"):
        sheet[key] = taken(sheet[key])
    sheet["picks"] = [taken(column) for column in sheet["picks"]]
    sheet["count"] = designs
    data["members"] = []
    for i in range(networks):
        speeds = [speed * (1 + i / networks) for speed in sheet["ips"]]
        data["members"].append(
            {
                **record,
                "name": f"copy{i}",
                "test": 90 + 8 * i / networks,
                "sheets": [{**sheet, "ips": speeds, "LUT": [n + i for n in sheet["LUT"]]}],
            }
        )
    text = document.render("many", data)
    assert len(text.encode()) < 2_000_000
    return text
