"""The constants that are fitted to the paper, and their errors without the network at test.

The structure was fixed before (hardware/styles/array.py): the largest layer, P from table 6, mean k
from the scheme or the storage column. Who chose it had seen the tables, so all errors are
conditional on it. What remains is one number a format, cycles for one term of a product: the median
of what the rows imply. Networks 2 and 6 are the same layer and are always left out
together. Four constants, one of L-2's own, were tried and did no better; a claim of less than 20 %
in absolute mode would be over-fitted (docs/measurements/throughput.md).

Anchored on a measured L-1 row, two constants take the place of the three: what FP and Full take
relative to L-1, medians too. L-2 and FLightNN need none.
"""

import dataclasses
import functools
import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from flightnn_jax import schemes
from flightnn_jax.hardware import arithmetic, device
from flightnn_jax.hardware.styles import array
from flightnn_jax.hardware.workload import from_network
from flightnn_jax.paper import tables

TWINS = (frozenset({2, 6}),)
"""Networks with the same largest layer, which tell about each other."""


def kind_of(row: tables.Row | tables.Utilization) -> str:
    """The kind of a row's weights, one of `array.FITS`."""
    return arithmetic.of(schemes.find(row.scheme).weights).kind


@functools.cache
def largest_multiplications(network: int) -> int:
    """Products for one image in a network's largest layer.

    Example:
      >>> largest_multiplications(7)
      9437184
    """
    return from_network(network, "lightnn1").largest().layers[0].multiplications


def implied_cycles(row: tables.Row) -> float:
    """Cycles for one term of a product that a row of tables 2 to 5 implies."""
    return _rate(row) / tables.throughput(row)


@functools.cache
def _rate(row: tables.Row) -> float:
    """Images a second if a term took one cycle."""
    board = device.named("XC7Z045")
    parallelism = array.largest_parallelism(kind_of(row), board)
    products = largest_multiplications(row.network)
    return array.images_per_s("", products, tables.mean_k(row), parallelism, board.clock_mhz)


def constants(without: frozenset[int] = frozenset()) -> dict[str, float]:
    """Median cycles for each format; FLightNN rows, whose k is uncertain, are not used.

    Example:
      >>> {kind: round(c, 2) for kind, c in constants().items()}
      {'shift': 4.85, 'fp4': 11.8, 'full': 18.28}
    """
    used = [r for r in tables.results() if r.scheme != "flightnn" and r.network not in without]
    implied = {kind: [r for r in used if kind_of(r) == kind] for kind in array.FITS}
    return {kind: _median(map(implied_cycles, rows)) for kind, rows in implied.items()}


def _median(numbers: Iterable[float]) -> float:
    """The geometric one: the median of logarithms, so that speeds and times agree."""
    return math.exp(statistics.median(math.log(number) for number in numbers))


def twins(network: int) -> frozenset[int]:
    """The network and those that are left out with it.

    Example:
      >>> sorted(twins(6)), sorted(twins(1))
      ([2, 6], [1])
    """
    return next((t for t in TWINS if network in t), frozenset({network}))


class Prediction(NamedTuple):
    """A row and what is predicted for it, in images a second."""

    row: tables.Row
    images_per_s: float

    @property
    def ratio(self) -> float:
        """Predicted over printed."""
        return self.images_per_s / tables.throughput(self.row)


def fitted() -> list[Prediction]:
    """All 46 rows, by constants that were fitted to them."""
    c = constants()
    return [Prediction(r, _rate(r) / c[kind_of(r)]) for r in tables.results()]


def left_out() -> list[Prediction]:
    """All 46 rows, each by constants that were fitted without its network and its twin."""
    c = {network: constants(twins(network)) for network in range(1, 9)}
    return [Prediction(r, _rate(r) / c[r.network][kind_of(r)]) for r in tables.results()]


def null() -> list[Prediction]:
    """All 46 rows by no model at all: the median of the scheme's rows of other networks.

    What a model must beat. Twins are left out together; the rows of FLightNNs are one scheme.
    """
    predictions = []
    for row in tables.results():
        others = [
            tables.throughput(r)
            for r in tables.results()
            if r.scheme == row.scheme and r.network not in twins(row.network)
        ]
        predictions.append(Prediction(row, _median(others)))
    return predictions


def anchored() -> list[Prediction]:
    """All rows but L-1, given their network's L-1 row and the other networks' ratios to theirs.

    L-2 and FLightNN rows are L-1 / mean k and need no constant. FP and Full take the median ratio
    of the other networks, twins left out.
    """
    predictions = []
    for row in tables.results():
        if row.scheme != "lightnn1":
            slower = tables.mean_k(row) * relative(twins(row.network))[kind_of(row)]
            predictions.append(Prediction(row, _anchor(row.network) / slower))
    return predictions


def _anchor(network: int) -> float:
    """Throughput of the network's L-1 row."""
    return next(tables.throughput(r) for r in tables.of_network(network) if r.scheme == "lightnn1")


def relative(without: frozenset[int] = frozenset()) -> dict[str, float]:
    """How many times as long as a shift a product takes: the median of L-1 over FP, and over Full.

    Example:
      >>> {kind: round(times, 2) for kind, times in relative().items()}
      {'shift': 1.0, 'fp4': 1.78, 'full': 14.35}
    """
    ratios = {"shift": 1.0}
    for kind in ("fp4", "full"):
        rows = [r for r in tables.results() if r.scheme == kind and r.network not in without]
        ratios[kind] = _median(_anchor(r.network) / tables.throughput(r) for r in rows)
    return ratios


@dataclasses.dataclass(frozen=True)
class Errors:
    """How far predictions lie from the printed rows.

    Attributes:
      count: of rows.
      median: of |predicted / printed - 1|.
      ninth: nine of ten rows are met within this factor.
      worst: all rows are.
      shares: the share of rows within 1.25, 1.5, 2 and 3 times, by factor.
    """

    count: int
    median: float
    ninth: float
    worst: float
    shares: dict[float, float]


def errors(
    predictions: Sequence[Prediction], keep: Callable[[tables.Row], bool] = lambda row: True
) -> Errors:
    """The errors of those predictions whose rows are kept.

    Example:
      >>> errors(anchored(), lambda row: row.scheme == "flightnn").count
      16
    """
    ratios = [p.ratio for p in predictions if keep(p.row)]
    factors = sorted(max(r, 1 / r) for r in ratios)
    place = 0.9 * (len(factors) - 1)
    low, part = int(place), place % 1
    ninth = factors[low] + part * (factors[min(low + 1, len(factors) - 1)] - factors[low])
    shares = {x: sum(f <= x for f in factors) / len(factors) for x in (1.25, 1.5, 2.0, 3.0)}
    median = statistics.median(abs(r - 1) for r in ratios)
    return Errors(len(ratios), median, ninth, factors[-1], shares)


def quantized(row: tables.Row) -> bool:
    """Whether a row is not full precision."""
    return row.scheme != "full"


class Order(NamedTuple):
    """Pairs of a network's models, and how many are predicted in the published order."""

    right: int
    pairs: int


def order(predictions: Sequence[Prediction], apart: float = 1.03) -> Order:
    """Whether the faster of two models is predicted to be faster.

    Pairs closer than `apart` have no order to speak of. Nor has FL2a against L-1 in network 2: its
    throughput says faster (2.8e3 to 2.7e3), its speedup slower (18.9 to 19.0).
    """
    right = pairs = 0
    for network in range(1, 9):
        of_network = [p for p in predictions if p.row.network == network]
        for a, b in itertools.combinations(of_network, 2):
            ta, tb = tables.throughput(a.row), tables.throughput(b.row)
            if max(ta, tb) / min(ta, tb) <= apart or _contradictory(a.row, b.row):
                continue
            pairs += 1
            right += (ta - tb) * (a.images_per_s - b.images_per_s) > 0
    return Order(right, pairs)


def _contradictory(a: tables.Row, b: tables.Row) -> bool:
    """Whether throughputs and speedups put two rows in opposite orders."""

    def sign(first: str, second: str) -> int:
        (low, high), (low2, high2) = tables.interval(first), tables.interval(second)
        return (low > high2 - 1e-9) - (high < low2 + 1e-9)

    return sign(a.throughput, b.throughput) * sign(a.speedup, b.speedup) < 0


def with_anchors(predictions: Sequence[Prediction]) -> list[Prediction]:
    """The same and the L-1 rows as they are, so that `order` sees each network whole."""
    rows = [row for row in tables.results() if row.scheme == "lightnn1"]
    return [*predictions, *(Prediction(row, tables.throughput(row)) for row in rows)]
