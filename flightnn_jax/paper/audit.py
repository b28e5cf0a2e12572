"""Every cell of the paper's tables beside the model's, with a verdict and its reason.

reproduced: what is counted rounds to the printed number; what is measured is predicted within 2x
by constants that were fitted without that network.
contradicted: it is not, or the paper contradicts itself there; the reason says which.
not verifiable: no cost model can know it, and the networks that were trained do not tell.
"""

import collections
from collections.abc import Sequence
from typing import NamedTuple

from flightnn_jax import networks, schemes
from flightnn_jax.hardware import device
from flightnn_jax.hardware.styles import array
from flightnn_jax.hardware.workload import from_network
from flightnn_jax.paper import fit, reproduction
from flightnn_jax.paper import tables as published
from flightnn_jax.paper.reproduction import Trained

REPRODUCED, CONTRADICTED, NOT_VERIFIABLE = "reproduced", "contradicted", "not verifiable"

WITHIN = 2.0
"""How far a predicted throughput may be off and count as reproduced: the error that is claimed for
nine of ten quantized rows (hardware/styles/array.py)."""


class Cell(NamedTuple):
    """A printed cell.

    Attributes:
      table: "1" to "6", or "text" for a claim in section 5.2.
      row: network and model.
      column: its heading.
      printed: as it is.
      model: what the model says; empty if nothing.
      error: the model's value over the printed one, less 1; None where that makes no sense.
      verdict: one of the three.
      reason: why; empty if the numbers say it.
    """

    table: str
    row: str
    column: str
    printed: str
    model: str
    error: float | None
    verdict: str
    reason: str = ""


def cells(trained: Sequence[Trained] = ()) -> list[Cell]:
    """All cells, in the order of the tables.

    Args:
      trained: rows for which networks were trained, from `reproduction.longest`; by these
        accuracies are judged.

    Example:
      >>> sorted(set(cell.verdict for cell in cells()))
      ['contradicted', 'not verifiable', 'reproduced']
    """
    return [*_settings(), *_results(trained), *_utilization(), *_text()]


def summary(audited: list[Cell]) -> dict[str, dict[str, int]]:
    """How many cells of each table got which verdict.

    Example:
      >>> summary(cells())["1"]
      {'reproduced': 32}
    """
    counts: dict[str, dict[str, int]] = {}
    for table in dict.fromkeys(cell.table for cell in audited):
        verdicts = collections.Counter(cell.verdict for cell in audited if cell.table == table)
        counts[table] = dict(verdicts)
    return counts


def _counted(table: str, row: str, column: str, printed: str, value: float, why: str = "") -> Cell:
    """A number that needs no measurement: it must round to the printed one."""
    low, high = published.interval(printed)
    right = low <= value <= high
    error = value / published.middle(printed) - 1
    shown = f"{value:,.4g}" if value < 1e4 else f"{value:,.0f}"
    reason = "" if right else why or "does not round to the printed number"
    return Cell(table, row, column, printed, shown, error, _verdict(right), reason)


def _verdict(right: bool) -> str:
    return REPRODUCED if right else CONTRADICTED


def _settings() -> list[Cell]:
    """Table 1, from the networks' records."""
    audited = []
    for row in published.settings():
        net = networks.network(row.network)
        steps = list(networks.walk_weights(net))
        residual = any(isinstance(x, networks.Residual) for x in net.layers)
        name, structure = f"net {row.network}", "ResNet" if residual else "VGG"
        # Shortcuts are not on the path; the dense layer of a ResNet is counted.
        depth = sum(not step.name.endswith("shortcut") for step in steps)
        width = max(s.layer.filters for s in steps if isinstance(s.layer, networks.Conv))
        parameters, same = networks.weight_count(net), _verdict(structure == row.structure)
        audited += [
            _counted("1", name, "Parameters", row.parameters, parameters),
            Cell("1", name, "Structure", row.structure, structure, None, same),
            _counted("1", name, "Depth", row.depth, depth),
            _counted("1", name, "Width", row.width, width),
        ]
    return audited


_LEARNED = "needs training, and none is there"


def _results(trained: Sequence[Trained]) -> list[Cell]:
    """Tables 2 to 5, four cells a row."""
    known = {one.row: one for one in trained}
    absolute = {p.row: p.images_per_s for p in fit.left_out()}
    anchored = {p.row: p.images_per_s for p in fit.anchored()}
    audited = []
    for row in published.results():
        table, name = str(row.table), f"net {row.network} {row.model}"
        speedup = absolute[row] / absolute[published.base_of(row)]
        audited += [
            _accuracy(row, table, name, known.get(row)),
            _storage(row, table, name),
            _throughput(row, table, name, absolute[row], anchored.get(row)),
            _speedup(row, table, name, speedup),
        ]
    return audited


def _accuracy(row: published.Row, table: str, name: str, trained: Trained | None) -> Cell:
    """Judged by the gap to full precision, since the length of the training is not printed."""
    if trained is None:
        return Cell(table, name, "Accuracy", row.accuracy, "", None, NOT_VERIFIABLE, _LEARNED)
    accuracy, told = trained.group.accuracy.mean, trained.reason
    if trained.gap is not None:
        gap = f"gap {trained.gap.mean:+.2f} ± {trained.around:.2f}, printed {trained.printed:+.2f}"
        told = f"{gap}; {told}" if told else gap
    error = accuracy / float(row.accuracy) - 1
    verdict = NOT_VERIFIABLE if trained.verdict == reproduction.UNDECIDED else trained.verdict
    return Cell(table, name, "Accuracy", row.accuracy, f"{accuracy:.2f}", error, verdict, told)


def _storage(row: published.Row, table: str, name: str) -> Cell:
    if row.scheme == "flightnn":
        low, high = published.storage_k(row)
        model, why = f"mean k {low:.2f} to {high:.2f}", "k was learned"
        return Cell(table, name, "Storage", row.storage, model, None, NOT_VERIFIABLE, why)
    weights = schemes.find(row.scheme).weights
    bits = weights.bits * weights.k if weights else 32
    megabytes = networks.weight_storage_bits(networks.network(row.network), bits) / 8e6
    why = "computed from the rounded number of parameters, 2.8M x 4 bytes"
    if megabytes < published.interval(row.storage)[0]:
        why = "rounded up where the other cells are rounded to the nearest"
    return _counted(table, name, "Storage", row.storage, megabytes, why)


_FULL_FAULTS = {
    2: "network 6 is the same layer, printed 1.78x as fast",
    6: "network 2 is the same layer, printed 1.78x slower",
    3: "75 Mb of weights do not fit into the board's 20 Mb of memory, and loading them takes time",
    4: "the printed speed takes 460 unpipelined float elements, 2,300 DSP of 900: another design",
    5: "the printed speed takes 910 unpipelined float elements, 4,500 DSP of 900: another design",
}


def _throughput(
    row: published.Row, table: str, name: str, absolute: float, anchored: float | None
) -> Cell:
    ratio = absolute / published.throughput(row)
    right = 1 / WITHIN <= ratio <= WITHIN
    given = ""
    if anchored is not None:
        given = f"given L-1: {anchored:,.4g} ({anchored / published.throughput(row) - 1:+.0%})"
    reason = ""
    if row.scheme == "full" and row.network in _FULL_FAULTS:
        right, reason = False, _FULL_FAULTS[row.network]
    elif not right and row.network == 3:
        reason = "8-bit weights fill the array's 1,024 blocks to the last bit; no room for maps"
    elif not right:
        reason = "the row is consistent; the model is off where its network was left out"
    model, why = f"{absolute:,.4g}", "; ".join(filter(None, (reason, given)))
    return Cell(table, name, "Throughput", row.throughput, model, ratio - 1, _verdict(right), why)


def _speedup(row: published.Row, table: str, name: str, speedup: float) -> Cell:
    if row.speedup == "1":
        return Cell(table, name, "Speedup", "1", "1", 0.0, REPRODUCED, "by definition")
    ratio = speedup / published.middle(row.speedup)
    right, reason = 1 / WITHIN <= ratio <= WITHIN, ""
    (slow, fast), contradicted = published.consistency(row.network)
    if row.model in contradicted:
        low, high = published.interval(row.throughput)
        right = False
        reason = f"the printed throughputs give {low / fast:.2f} to {high / slow:.2f}"
    elif not right:
        fault = _FULL_FAULTS.get(row.network, "the model is off where its network was left out")
        reason = f"against the network's Full row: {fault}"
    model, verdict = f"{speedup:.3g}", _verdict(right)
    return Cell(table, name, "Speedup", row.speedup, model, ratio - 1, verdict, reason)


_SECOND_DESIGN = "network 8 is another design than network 7"


def _utilization() -> list[Cell]:
    """Table 6: the array of `styles.array` against six and four rows."""
    board = device.named("XC7Z045")
    printed_speedups = {r.model: r.speedup for r in published.results()}
    audited = []
    for row in published.utilization():
        name, kind = f"net {row.network} {row.model}", fit.kind_of(row)
        parallelism = array.largest_parallelism(kind, board)
        needed = array.resources(kind, parallelism, board)
        audited.append(_label(row, name))
        for column in ("BRAM", "DSP"):
            value = needed[column].value
            audited.append(_counted("6", name, column, getattr(row, column), value, _SECOND_DESIGN))
        audited += [_logic(row, name, column, needed[column].value) for column in ("FF", "LUT")]
        # What tables 4 and 5 print for the same model, or the same network and scheme.
        elsewhere = printed_speedups.get(row.model)
        if row.scheme != "flightnn":
            rows = [r for r in published.of_network(row.network) if r.scheme == row.scheme]
            elsewhere = rows[0].speedup if rows else None
        same = elsewhere == row.speedup
        why = "" if same else f"FL7a and FL7b are swapped: table 4 says {elsewhere}"
        printed, model = row.speedup, elsewhere or ""
        audited.append(Cell("6", name, "Speedup", printed, model, None, _verdict(same), why))
    available = board.available()
    audited += [
        _counted("6", "Available", column, text, available[column])
        for column, text in published.available().items()
    ]
    return audited


def _label(row: published.Utilization, name: str) -> Cell:
    right = row.model in [r.model for r in published.of_network(row.network)]
    model = row.model if right else "L-1 4W8A"
    why = "" if right else "L-1 has 4-bit weights; table 5 says 4W8A"
    return Cell("6", name, "Model", row.model, model, None, _verdict(right), why)


def _logic(row: published.Utilization, name: str, column: str, value: float) -> Cell:
    printed = getattr(row, column)
    verdict, reason = NOT_VERIFIABLE, f"calibrated on this table; {_SECOND_DESIGN}"
    if row.scheme == "fp4":
        verdict = CONTRADICTED
        reason = "9 times less than L-1 for the same array: a digit may be missing"
        if column == "LUT":
            reason = "L-1's number, though FP multiplies in DSPs and not in tables"
    error = value / published.middle(printed) - 1
    return Cell("6", name, column, printed, f"{value:,.0f}", error, verdict, reason)


def _text() -> list[Cell]:
    """Claims of section 5.2 that follow from the tables or from the structure."""
    board = device.named("XC7Z045")
    audited = []
    for network, printed in ((7, "42"), (8, "17")):
        rows = [
            r for r in published.utilization() if (r.network, r.scheme) == (network, "lightnn2")
        ]
        share = 100 * max(published.middle(row.LUT) for row in rows) / board.lut
        audited.append(_counted("text", f"net {network} L-2", "LUT in use, %", printed, share))
    for data, of, printed in (
        ("CIFAR-10", (1, 2, 3), "2.0"),
        ("SVHN", (4, 5), "1.8"),
        ("CIFAR-100", (6, 7), "1.8"),
    ):
        gains = []
        for network in of:
            speeds = [(r.scheme, published.throughput(r)) for r in published.of_network(network)]
            fp4 = dict(speeds)["fp4"]
            gains += [speed / fp4 for scheme, speed in speeds if scheme == "flightnn"]
        audited.append(_counted("text", data, "FL over FP, at most", printed, max(gains)))
    for scheme, printed in (
        ("lightnn1", "BRAM"),
        ("lightnn2", "BRAM"),
        ("fp4", "BRAM and DSP"),
        ("full", "BRAM and DSP"),
    ):
        (layer,) = from_network(7, scheme).largest().layers
        parallelism = array.largest_parallelism(layer.format, board)
        limits = array.exceeded(layer.format, 2 * parallelism, board)
        more = set(limits) - set(printed.split(" and "))
        right = not more and set(printed.split(" and ")) <= set(limits)
        name, model = f"net 7 {scheme}", " and ".join(limits)
        why = f"the model runs out of {' and '.join(more)} as well" if more else ""
        cell = Cell("text", name, "Bounded by", printed, model, None, _verdict(right), why)
        audited.append(cell)
    return audited
