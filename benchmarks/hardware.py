"""Milliseconds of the hardware cost model: an estimate, a search, the audit.

    python -m benchmarks.hardware [--rounds=9]

The median of several rounds on networks of the paper, in one process, warm.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags

from flightnn_jax.hardware import device, estimate, search
from flightnn_jax.hardware.workload import from_network
from flightnn_jax.paper import audit

_ROUNDS = flags.DEFINE_integer("rounds", 9, "How often each row is timed.", 1)


def main(argv: Sequence[str]) -> None:
    """Prints a row for each task."""
    del argv
    board, small = device.named("XC7Z045"), device.named("XC7Z020")
    net1, net7 = from_network("net1", "flightnn", mean_k=1.3), from_network("net7", "lightnn1")
    net4, fixed = from_network("net4", "lightnn1"), from_network("net1", "fp4")
    layer = net4.largest()
    rows: list[tuple[str, Callable[[], Any]]] = [
        ("network 7, its workload alone", lambda: from_network("net7", "flightnn", mean_k=1.7)),
        ("network 7, array", lambda: estimate.estimate(net7, board)),
        ("network 7, engine, the fastest", lambda: estimate.estimate(net7, board, "engine")),
        ("network 4, engine, the fastest", lambda: estimate.estimate(net4, board, "engine")),
        ("network 4, hardwired layer", lambda: estimate.estimate(layer, board, "hardwired")),
        ("network 7, all engines", lambda: search.front(net7, board)),
        ("network 7, all arrays", lambda: search.front(net7, board, "array")),
        ("network 1, all engines", lambda: search.front(net1, board)),
        ("network 1 in fp4, all engines", lambda: search.front(fixed, board)),
        ("network 4 on XC7Z020, all engines", lambda: search.front(net4, small)),
        ("audit", audit.cells),
    ]
    print(f"{'':36}{'ms':>9}")
    for name, task in rows:
        task()
        taken = []
        for _ in range(_ROUNDS.value):
            start = time.perf_counter()
            task()
            taken.append(time.perf_counter() - start)
        print(f"{name:36}{1e3 * statistics.median(taken):9.1f}")


if __name__ == "__main__":
    app.run(main)
