"""Estimates, designs and comparisons as text for a terminal and as records for JSON."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from flightnn_jax.hardware import activity, comparison
from flightnn_jax.hardware.device import RESOURCES, Device
from flightnn_jax.hardware.records import Choice, Estimate, Number, total
from flightnn_jax.hardware.workload import Workload


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be, the first one to the left.

    Example:
      >>> print(table([("layer", "cycles"), ("conv1", "12")]))
      layer  cycles
      conv1      12
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [c.rjust(w) for c, w in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def short(value: float) -> str:
    """A number to three digits if it is small, and with commas if it is large.

    Example:
      >>> short(2831155.2), short(0.04), short(12.5), short(0)
      ('2,831,155', '0.04', '12.5', '0')
    """
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.3g}"


Traces = Mapping[str, activity.Distances]


def estimate_text(
    costs: Estimate, workload: Workload, device: Device, traces: Traces | None = None
) -> str:
    """A table by layer, its second row the error of each column, and the totals.

    Args:
      costs: what `estimate.estimate` returned.
      workload: of the same; for energies by activity.
      device: likewise, for what it has.
      traces: Hamming distances by layer; they add a table of energies by activity.
    """
    own = [name for name in RESOURCES if costs.layers[0].resources]
    columns: list[tuple[str, list[Number]]] = [
        ("products", [_exact(x.multiplications) for x in costs.layers]),
        ("mean k", [_exact(x.mean_k) for x in costs.layers]),
        ("weight kb", [_exact(x.weight_bits / 1e3) for x in costs.layers]),
        ("cycles", [x.cycles for x in costs.layers]),
        *((name, [x.resources[name] for x in costs.layers]) for name in own),
        ("ASIC nJ", [x.energy_nj for x in costs.layers]),
    ]
    rows = [["layer", *(name for name, _ in columns)]]
    rows.append(["(error)", *(total(numbers).bar for _, numbers in columns)])
    for i, layer in enumerate(costs.layers):
        rows.append([layer.name, *(short(numbers[i].value) for _, numbers in columns)])
    totals = [
        ("throughput, images/s", costs.images_per_s),
        ("latency of a batch, ms", costs.latency_ms),
        ("cycles of a batch", costs.cycles),
        *((f"{n}, of {device.available()[n]:,}", costs.resources[n]) for n in RESOURCES),
        ("energy on a 65-nm ASIC, nJ", costs.energy_nj),
    ]
    lines = [
        f"{costs.workload} in {costs.scheme} on {costs.device} at {device.clock_mhz:g} MHz, style "
        f"{costs.style}: {costs.design.parallelism} units, batch {costs.design.batch}",
        "",
        table(rows),
        "",
        table([(name, short(n.value), n.bar) for name, n in totals]),
        "",
        f"bounded by {' and '.join(costs.bounded_by) or 'nothing on the device'}: a design twice "
        f"as large would {'not ' * bool(costs.bounded_by)}fit",
        *(f"note: {note}" for note in costs.notes),
    ]
    if traces is not None:
        lines += ["", activity_text(workload, traces)]
    return "\n".join(lines)


def activity_text(workload: Workload, traces: Traces) -> str:
    """Energies by activity beside those with a constant for each operation, by layer and in all.

    Both are those of a whole unit with a 24-bit accumulator, on a 65-nm ASIC, so that nothing but
    the data tells them apart.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> work = from_network("net1", "lightnn1").largest()
      >>> text = activity_text(work, {"conv6": activity.Distances(3.0, 1.5, 5.0, 6.0)})
      >>> for line in text.splitlines()[2:5]:
      ...     print(line)
      layer    input   code  product    sum  pJ/operation  nJ by activity  nJ by constant
      (error)  exact  exact    exact  exact         ±40 %           ±40 %           ±40 %
      conv6        3    1.5        5      6          1.62           3,818           3,803
    """
    rows = [["layer", "input", "code", "product", "sum"]]
    rows[0] += ["pJ/operation", "nJ by activity", "nJ by constant"]
    layers = activity.energies(workload, traces)
    one, by_activity, constant = (total(n) for n in zip(*layers.values(), strict=True))
    rows.append(["(error)", *["exact"] * 4, one.bar, by_activity.bar, constant.bar])
    for name, energy in layers.items():
        bits = [f"{x:.3g}" for x in traces[name]]
        rows.append([name, *bits, *(short(n.value) for n in energy)])
    rows.append(["in all", *[""] * 5, short(by_activity.value), short(constant.value)])
    return (
        "bits that change in a cycle, and the energy with flip-flops and clock, which the table "
        f"above leaves out (24-bit sums, 65 nm):\n\n{table(rows)}"
    )


def _exact(value: float) -> Number:
    return Number(value, 1.0, "counted")


def estimate_json(
    costs: Estimate, workload: Workload, traces: Traces | None = None
) -> dict[str, Any]:
    """The same for `json.dumps`; every number that is not counted carries its error."""
    return {
        "network": costs.workload,
        "scheme": costs.scheme,
        "mean_k": workload.mean_k,
        "device": costs.device,
        "style": costs.style,
        "design": {**dataclasses.asdict(costs.design), "folding": list(costs.design.folding)},
        "layers": [
            {
                "name": layer.name,
                "products": layer.multiplications,
                "mean_k": layer.mean_k,
                "weight_bits": layer.weight_bits,
                "cycles": layer.cycles.as_json(),
                "resources": {name: n.as_json() for name, n in layer.resources.items()},
                "asic_nj": layer.energy_nj.as_json(),
            }
            for layer in costs.layers
        ],
        "cycles": costs.cycles.as_json(),
        "latency_ms": costs.latency_ms.as_json(),
        "images_per_s": costs.images_per_s.as_json(),
        "resources": {name: n.as_json() for name, n in costs.resources.items()},
        "asic_nj": costs.energy_nj.as_json(),
        "bounded_by": list(costs.bounded_by),
        "notes": list(costs.notes),
        **({} if traces is None else {"activity": activity_json(workload, traces)}),
    }


def activity_json(workload: Workload, traces: Traces) -> list[dict[str, Any]]:
    """The numbers of `activity_text`, layer by layer."""
    return [
        {
            "name": name,
            "distances": traces[name]._asdict(),
            "operation_pj": energy.operation.as_json(),
            "asic_nj": energy.layer.as_json(),
            "constant_nj": energy.constant.as_json(),
        }
        for name, energy in activity.energies(workload, traces).items()
    ]


def comparison_text(rows: Sequence[comparison.Row]) -> str:
    """Schemes beside each other with their errors, then every gain and loss against FP."""
    lines = [["scheme", "mean k", *(figure.heading for figure in rows[0].figures)]]
    for row in rows:
        numbers = [figure.value for figure in row.figures]
        cells = [f"{short(n.value)} {n.bar}" if n else "not measured" for n in numbers]
        lines.append([row.scheme, f"{row.mean_k:.3g}", *cells])
    sentences = []
    for verdict in comparison.verdicts(list(rows)):
        outcome = "gains" if verdict.gain > 1 else "LOSES"
        doubt = "" if verdict.settled else ", not beyond the error"
        sentences.append(
            f"{verdict.scheme} {outcome} against fp4 {verdict.what}: {verdict.gain:.2f}x{doubt}"
        )
    return "\n".join([table(lines), "", *sentences])


def designs_text(choices: Sequence[Choice]) -> str:
    """A row for each design that `search.compare` returned."""
    heads = ["scheme", "loss", "images/s", "ms", "of device", "ASIC nJ"]
    rows = [[*heads, "units", "batch", "folding"]]
    for c in choices:
        loss = "" if c.accuracy_loss is None else f"{c.accuracy_loss:.2f}"
        speed, energy = f"{c.images_per_s:,.0f}", short(c.energy_nj)
        merits = [loss, speed, f"{c.latency_ms:.3g}", f"{c.utilization:.0%}", energy]
        folding = " ".join(map(str, c.design.folding))
        rows.append([c.scheme, *merits, str(c.design.parallelism), str(c.design.batch), folding])
    note = (
        "speeds, latencies and shares are unverified: launch.estimate gives the error of a design"
    )
    return f"{table(rows)}\n{note}"
