"""Estimates and the audit as text for a terminal and as records for JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from flightnn_jax.hardware import activity, asic, comparison
from flightnn_jax.hardware.device import RESOURCES, Device
from flightnn_jax.hardware.records import Estimate, Number, total
from flightnn_jax.hardware.workload import Workload
from flightnn_jax.paper import audit, fit


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
    """A number as people read it.

    Example:
      >>> short(2831155.2), short(0.04), short(12.5), short(0)
      ('2,831,155', '0.04', '12.5', '0')
    """
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.3g}"


Traces = Mapping[str, activity.Distances]


def estimate_text(
    found: Estimate, workload: Workload, device: Device, traces: Traces | None = None
) -> str:
    """A table by layer, its second row the error of each column, and the totals.

    Args:
      found: what `estimate.estimate` returned.
      workload: of the same; for energies.
      device: likewise, for what it has.
      traces: Hamming distances by layer; they add a table of energies by activity.
    """
    energies = [asic.layer_energy(layer) for layer in workload.layers]
    own = [name for name in RESOURCES if found.layers[0].resources]
    columns: list[tuple[str, list[Number]]] = [
        ("products", [_exact(x.multiplications) for x in found.layers]),
        ("mean k", [_exact(x.mean_k) for x in found.layers]),
        ("weight kb", [_exact(x.weight_bits / 1e3) for x in found.layers]),
        ("cycles", [x.cycles for x in found.layers]),
        *((name, [x.resources[name] for x in found.layers]) for name in own),
        ("ASIC nJ", energies),
    ]
    rows = [["layer", *(name for name, _ in columns)]]
    rows.append(["(error)", *(total(numbers).bar for _, numbers in columns)])
    for i, layer in enumerate(found.layers):
        rows.append([layer.name, *(short(numbers[i].value) for _, numbers in columns)])
    design = found.design
    lines = [
        f"{found.workload} in {found.scheme} on {found.device} at {device.clock_mhz:g} MHz, style "
        f"{found.style}: {design.parallelism} units, batch {design.batch}",
        "",
        table(rows),
        "",
    ]
    energy = asic.energy(workload)
    totals = [
        ("throughput, images/s", found.images_per_s),
        ("latency of a batch, ms", found.latency_ms),
        ("cycles of a batch", found.cycles),
        *((f"{n}, of {device.available()[n]:,}", found.resources[n]) for n in RESOURCES),
        ("energy on a 65-nm ASIC, nJ", energy),
    ]
    lines.append(table([(name, short(n.value), n.bar) for name, n in totals]))
    lines.append("")
    if found.bounded_by:
        bounds = " and ".join(found.bounded_by)
        lines.append(f"bounded by {bounds}: a design twice as large would not fit")
    else:
        lines.append("bounded by nothing on the device: a design twice as large would fit")
    lines.extend(f"note: {note}" for note in found.notes)
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
    found = activity.energies(workload, traces)
    by_activity, constant = (total(n) for n in zip(*(x[1:] for x in found.values()), strict=True))
    one = next(iter(found.values())).operation
    rows.append(["(error)", *["exact"] * 4, one.bar, by_activity.bar, constant.bar])
    for name, energy in found.items():
        bits = [f"{x:.3g}" for x in traces[name]]
        rows.append([name, *bits, *(short(n.value) for n in energy)])
    rows.append(["in all", *[""] * 5, short(by_activity.value), short(constant.value)])
    return "\n".join(
        [
            "bits that change in a cycle, and the energy with flip-flops and clock, which the "
            "table above leaves out (24-bit sums, 65 nm):",
            "",
            table(rows),
        ]
    )


def _exact(value: float) -> Number:
    return Number(value, 1.0, "counted")


def estimate_json(
    found: Estimate, workload: Workload, traces: Traces | None = None
) -> dict[str, Any]:
    """The same for `json.dumps`; every number that is not counted carries its error."""
    energies = [asic.layer_energy(layer) for layer in workload.layers]
    return {
        "network": found.workload,
        "scheme": found.scheme,
        "mean_k": workload.mean_k,
        "device": found.device,
        "style": found.style,
        "design": {
            "parallelism": found.design.parallelism,
            "batch": found.design.batch,
            "folding": list(found.design.folding),
        },
        "layers": [
            {
                "name": layer.name,
                "products": layer.multiplications,
                "mean_k": layer.mean_k,
                "weight_bits": layer.weight_bits,
                "cycles": layer.cycles.as_json(),
                "resources": {name: n.as_json() for name, n in layer.resources.items()},
                "asic_nj": energy.as_json(),
            }
            for layer, energy in zip(found.layers, energies, strict=True)
        ],
        "cycles": found.cycles.as_json(),
        "latency_ms": found.latency_ms.as_json(),
        "images_per_s": found.images_per_s.as_json(),
        "resources": {name: n.as_json() for name, n in found.resources.items()},
        "asic_nj": asic.energy(workload).as_json(),
        "bounded_by": list(found.bounded_by),
        "notes": list(found.notes),
        **({} if traces is None else {"activity": activity_json(workload, traces)}),
    }


def activity_json(workload: Workload, traces: Traces) -> list[dict[str, Any]]:
    """What `activity_text` tells, layer by layer."""
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


_WHAT = {
    "array": "in the paper's array",
    "engine": "as an engine",
    "wired_lut": "hard-wired",
    "asic_nj": "in energy on an ASIC",
}


def comparison_text(rows: Sequence[comparison.Row]) -> str:
    """Schemes beside each other with their errors, then every gain and loss against FP."""
    names = ["array images/s", "engine images/s", "engine LUT", "hard-wired LUT", "ASIC nJ"]
    lines = [["scheme", "mean k", *names]]
    for row in rows:
        cells = [f"{short(n.value)} {n.bar}" if n else "not measured" for n in row[2:]]
        lines.append([row.scheme, f"{row.mean_k:.3g}", *cells])
    told = []
    for verdict in comparison.verdicts(list(rows)):
        outcome = "gains" if verdict.gain > 1 else "LOSES"
        doubt = "" if verdict.settled else ", not beyond the error"
        told.append(
            f"{verdict.scheme} {outcome} against fp4 {_WHAT[verdict.what]}: "
            f"{verdict.gain:.2f}x{doubt}"
        )
    return "\n".join([table(lines), "", *told])


def audit_text(cells: Sequence[audit.Cell]) -> str:
    """Every cell, then how many there are of each verdict, then the model's errors."""
    rows = [["table", "row", "column", "printed", "model", "error", "verdict"]]
    for c in cells:
        error = "" if c.error is None else f"{c.error:+.0%}"
        rows.append([c.table, c.row, c.column, c.printed, c.model, error, c.verdict])
    first, *rest = table(rows).split("\n")
    reasons = [f"  {c.reason}" if c.reason else "" for c in cells]
    body = [line + reason for line, reason in zip(rest, reasons, strict=True)]
    counts = [["table", audit.REPRODUCED, audit.CONTRADICTED, audit.NOT_VERIFIABLE]]
    for name, found in audit.summary(list(cells)).items():
        counts.append([name, *(str(found.get(verdict, 0)) for verdict in counts[0][1:])])
    return "\n".join([first, *body, "", table(counts), "", errors_text()])


def errors_text() -> str:
    """The throughput model's errors against the 46 published rows."""
    fitted, left_out, anchored = fit.fitted(), fit.left_out(), fit.anchored()
    rows = [["throughput", "rows", "median", "nine of ten", "worst", "in 1.25x", "in 2x"]]
    for name, predictions, keep in (
        ("fitted, all", fitted, None),
        ("left out, all", left_out, None),
        ("left out, quantized", left_out, fit.quantized),
        ("given L-1, quantized", anchored, fit.quantized),
        ("given L-1, FLightNN", anchored, lambda row: row.scheme == "flightnn"),
    ):
        e = fit.errors(predictions, keep) if keep else fit.errors(predictions)
        rows.append(
            [
                name,
                str(e.count),
                f"{e.median:.1%}",
                f"{e.ninth:.2f}x",
                f"{e.worst:.2f}x",
                f"{e.shares[1.25]:.0%}",
                f"{e.shares[2.0]:.0%}",
            ]
        )
    orders = [
        f"{name} {found.right} of {found.pairs} ({found.right / found.pairs:.1%})"
        for name, found in (
            ("fitted", fit.order(fitted)),
            ("left out", fit.order(left_out)),
            ("given L-1", fit.order(fit.with_anchors(anchored))),
        )
    ]
    constants = ", ".join(f"{kind} {c:.2f}" for kind, c in fit.constants().items())
    return "\n".join(
        [
            table(rows),
            f"pairs of schemes in the published order: {'; '.join(orders)}",
            f"fitted constants, cycles for a term of a product: {constants}",
        ]
    )
