"""Directories of runs that are done, as training leaves them: made up, for what reads them."""

import itertools
import json
import math
import random


def write_run(workdir, label="FL", scheme="flightnn", layers=4, epochs=6, **options):
    """Writes result.json and metrics.jsonl; returns the rows.

    Options: every, between validations; top1, of the test; thresholds, "layer", "network" or None,
    which stands for a budget of 1.5.
    """
    numbers = random.Random(f"{label} {layers} {epochs}")
    thresholds, every = options.get("thresholds"), options.get("every", 1)
    shifts = label.startswith(("FL", "L-"))
    most = 1 if label.startswith("L-1") else 2
    rows = []
    for epoch in range(1, epochs + 1):
        row = {"step": 10 * epoch, "epoch": epoch, "train": noise(numbers, "loss", "accuracy")}
        row["train"]["penalty"] = 0.01
        if epoch % every == 0 or epoch == epochs:
            row["validation"] = noise(numbers, "loss", "top1", "top5")
            made = {
                f"conv{i + 1}/kernel": layer(numbers, 8 << i // 3, most, thresholds)
                for i in range(layers * shifts)
            }
            if thresholds == "network":
                same = made["conv1/kernel"]["thresholds"]
                made = {name: {**one, "thresholds": same} for name, one in made.items()}
            mean = sum(one["mean_k"] for one in made.values()) / layers if shifts else None
            row |= {"mean_k": mean, "mean_k_of_weights": mean and 0.9 * mean, "layers": made}
            row |= {"storage_bits": numbers.randrange(8000, 80_000), "other_bits": 0}
        rows.append(row)
    record = {
        **{key: value for key, value in rows[-1].items() if key not in ("step", "epoch")},
        "config": {"scheme": scheme, "mode": "paper" if thresholds else "budget", "budget": 1.5},
        "scheme": label,
        "test": {"loss": 0.5, "top1": options.get("top1", 0.9), "top5": 1.0},
    }
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (workdir / "result.json").write_text(json.dumps(record))
    return rows


def noise(numbers, *names):
    return {name: numbers.random() for name in names}


def layer(numbers, filters, most, thresholds):
    counts = [numbers.randrange(filters) for _ in range(most)]
    counts = sorted([0, *counts, filters])
    share = [(b - a) / filters for a, b in itertools.pairwise(counts)]
    assert math.isclose(sum(share), 1)
    return {
        "filters": filters,
        "mean_k": sum(k * part for k, part in enumerate(share)),
        "share": share,
        "thresholds": [numbers.random() for _ in range(most)] if thresholds else None,
    }
