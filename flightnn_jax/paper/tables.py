"""The paper's tables 1 to 6 as data, and what their roundings leave open.

`paper.json` has every cell as it is printed. A printed number stands for all numbers that round to
it, so numbers that must agree are compared as intervals. Where they cannot agree the paper
contradicts itself, which the audit reports.
"""

import functools
import json
import re
from importlib import resources
from typing import Any, NamedTuple

from flightnn_jax import networks, schemes
from flightnn_jax.hardware import workload

Interval = tuple[float, float]

BUDGETS = {
    "net1": (1.1, 1.5),
    "net2": (1.1, 1.75),
    "net3": (1.1, 1.4),
    "net4": (1.1, 1.5),
    "net5": (1.2, 1.6),
    "net6": (1.1, 1.5),
    "net7": (1.1, 1.7),
}
"""The mean k with which the FLightNNs a and b are trained: the printed storage leaves them open."""

_SCHEMES = {scheme.label.split()[0]: scheme.name for scheme in schemes.SCHEMES}


class Row(NamedTuple):
    """A row of tables 2 to 5; all but the first two fields are as printed.

    Attributes:
      table: 2 to 5.
      network: 1 to 8.
      model: such as "L-2 8W8A" or "FL1a".
      accuracy: in per cent; top-5 for network 8.
      storage: of the weights, in megabytes.
      throughput: images a second, of the largest layer.
      speedup: over full precision; over L-2 for network 8.
    """

    table: int
    network: int
    model: str
    accuracy: str
    storage: str
    throughput: str
    speedup: str

    @property
    def scheme(self) -> str:
        """As `schemes.SCHEMES` calls it."""
        return _SCHEMES.get(self.model.split()[0], "flightnn")


class Utilization(NamedTuple):
    """A row of table 6, as printed."""

    network: int
    model: str
    BRAM: str
    DSP: str
    FF: str
    LUT: str
    speedup: str

    @property
    def scheme(self) -> str:
        """As `schemes.SCHEMES` calls it."""
        return _SCHEMES.get(self.model.split()[0], "flightnn")


class Setting(NamedTuple):
    """A row of table 1; all but the first field are as printed."""

    network: int
    parameters: str
    structure: str
    depth: str
    width: str


@functools.cache
def _data() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("paper.json").read_text(encoding="utf-8")
    return json.loads(text)


@functools.cache
def settings() -> tuple[Setting, ...]:
    """Table 1."""
    return tuple(Setting(**row) for row in _data()["table1"])


@functools.cache
def results() -> tuple[Row, ...]:
    """Tables 2 to 5, 46 rows.

    Example:
      >>> len(results()), results()[0].throughput
      (46, '3.2e2')
    """
    return tuple(Row(**row) for row in _data()["results"])


def of_network(network: int) -> list[Row]:
    """The rows of one network."""
    return [row for row in results() if row.network == network]


def base_of(row: Row) -> Row:
    """The row to which the speedups of a row's network refer."""
    return next(r for r in of_network(row.network) if r.speedup == "1")


@functools.cache
def utilization() -> tuple[Utilization, ...]:
    """Table 6 without its last row."""
    return tuple(Utilization(**row) for row in _data()["utilization"])


def available() -> dict[str, str]:
    """The last row of table 6."""
    return dict(_data()["available"])


def interval(printed: str) -> Interval:
    """All numbers that round to the printed one.

    Example:
      >>> interval("4.5e3"), interval("1,024"), interval("0.08M")
      ((4450.0, 4550.0), (1023.5, 1024.5), (75000.0, 85000.0))
    """
    match = re.fullmatch(r"([\d,]+)(?:\.(\d+))?(?:e(\d+))?(M)?", printed)
    if match is None:
        raise ValueError(f"{printed!r} is no number as the paper prints it, such as 4.5e3")
    whole, decimals, exponent, million = match.groups()
    digits = len(decimals or "")
    power = 10 ** (int(exponent or 0) + (6 if million else 0))
    # Integers up to the last division, so that the ends are the nearest floats.
    value = int(whole.replace(",", "") + (decimals or ""))
    return (2 * value - 1) * power / (2 * 10**digits), (2 * value + 1) * power / (2 * 10**digits)


def middle(printed: str) -> float:
    """Of all numbers that round to the printed one."""
    return sum(interval(printed)) / 2


def overlap(first: Interval, second: Interval) -> Interval | None:
    """What two intervals share."""
    low, high = max(first[0], second[0]), min(first[1], second[1])
    return (low, high) if low <= high else None


class Consistency(NamedTuple):
    """What a network's columns of throughputs and speedups say together.

    Attributes:
      base: the throughput to which most rows' speedups refer.
      contradicted: models whose throughput and speedup cannot both be right with that base.
    """

    base: Interval
    contradicted: tuple[str, ...]


@functools.cache
def consistency(network: int) -> Consistency:
    """The base on which most rows of a network agree, and those that cannot.

    A row with throughput T and speedup S, both intervals, needs a base in T / S. The base is where
    most of these intervals meet: some end of one of them lies in it.

    Example:
      >>> consistency(4).contradicted  # 8.3e3 / 2.2e3 is 3.67 to 3.88, not 3.63
      ('L-1 4W8A', 'FL4b')
    """
    needed = {}
    for row in of_network(network):
        (low, high), (slow, fast) = interval(row.throughput), _speedup(row)
        needed[row.model] = (low / fast, high / slow)
    ends = [end for pair in needed.values() for end in pair]
    agreeing = {end: sum(a <= end <= b for a, b in needed.values()) for end in ends}
    best = [end for end in ends if agreeing[end] == max(agreeing.values())]
    base = (min(best), max(best))
    wrong = tuple(model for model, implied in needed.items() if overlap(implied, base) is None)
    return Consistency(base, wrong)


def _speedup(row: Row) -> Interval:
    """The first row's is 1 by definition."""
    return (1.0, 1.0) if row.speedup == "1" else interval(row.speedup)


def throughput(row: Row) -> float:
    """The middle of what throughput and speedup leave together, in images a second.

    Where they contradict each other the throughput alone counts.

    Example:
      >>> round(throughput(results()[2]))  # printed 4.5e3 and 14.4x
      4540
    """
    printed, base, speedup = interval(row.throughput), consistency(row.network).base, _speedup(row)
    low, high = overlap(printed, (base[0] * speedup[0], base[1] * speedup[1])) or printed
    return (low + high) / 2


def storage_k(row: Row) -> Interval:
    """The mean k of a FLightNN that its storage leaves open, 4 bits a term, within 0 to 2.

    Example:
      >>> low, high = storage_k(next(row for row in results() if row.model == "FL7b"))
      >>> round(low, 2), round(high, 2)
      (1.67, 1.74)
    """
    bits_of_one = networks.weight_storage_bits(networks.network(row.network), 4)
    low, high = (8e6 * end / bits_of_one for end in interval(row.storage))
    return max(low, 0.0), min(high, 2.0)


def mean_k(row: Row) -> float:
    """The k by which a row is modelled: 1, 2, or the middle of `storage_k`.

    Example:
      >>> round(mean_k(next(row for row in results() if row.model == "FL7b")), 2)
      1.7
    """
    if row.scheme == "flightnn":
        return sum(storage_k(row)) / 2
    return 2.0 if row.scheme == "lightnn2" else 1.0


def accuracy_loss(row: Row) -> float:
    """Percentage points below full precision; below L-2 for network 8, which has no such row.

    Example:
      >>> round(accuracy_loss(next(row for row in results() if row.model == "FL7b")), 2)
      0.35
    """
    return float(base_of(row).accuracy) - float(row.accuracy)


def candidates(network: str) -> list[tuple[workload.Workload, float]]:
    """A network in the rows' schemes, each with its loss of accuracy, for `search.compare`.

    Example:
      >>> [(work.scheme, loss) for work, loss in candidates("net8")][:2]
      [('lightnn2', 0.0), ('lightnn1', 2.1)]
    """
    rows = []
    for row in results():
        if f"net{row.network}" == network:
            assumed = round(mean_k(row), 2) if row.scheme == "flightnn" else None
            work = workload.from_network(network, row.scheme, mean_k=assumed)
            rows.append((work, round(accuracy_loss(row), 2)))
    return rows
