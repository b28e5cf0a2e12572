"""Energy and area of the computation on an ASIC, by gate-level simulation of synthesized units.

Two open libraries were used, Nangate at 45 nm and 1.1 V and sky130 at 130 nm and 1.8 V
(docs/measurements/energy.md). The paper used a commercial 65-nm library and its figure 5
prints no numbers, so only ratios and orders can be compared. Energies at other nodes are scaled as
length x voltage**2 from both libraries, and the geometric mean is given: +-40 % in absolute terms,
+-15 % as ratios. An energy is that of arithmetic: no memory, no wires between units.

Units of one bit, of signs and of tables of products were simulated with a third library, beside
one shift (`benchmarks.rtl_energy`). What they take is that ratio times the energy of the shift.
"""

import math
from typing import NamedTuple

from flightnn_jax.hardware.records import Number, total
from flightnn_jax.hardware.workload import LayerWork, Workload

ABSOLUTE_ERROR = 1.4
RATIO_ERROR = 1.15
BESIDE_ERROR, BESIDE_AREA_ERROR = 1.23, 1.35
"""The worst of the ratios to a shift, of energies and of areas, that the third library gives of
units which the other two know."""

HOROWITZ = {
    "8-bit add": 0.03,
    "32-bit add": 0.1,
    "8-bit multiply": 0.2,
    "32-bit multiply": 3.1,
    "float32 add": 0.9,
    "float32 multiply": 3.7,
}
"""pJ at 45 nm, arithmetic alone, no registers or clock: M. Horowitz, ISSCC 2014, as a bound from
below. Ours are 3 to 10 times as much, with glitches, registers and 1.1 V."""


class Library(NamedTuple):
    """Where energies were simulated.

    Attributes:
      node: in nm.
      voltage: in V.
    """

    node: float
    voltage: float


LIBRARIES = (Library(45, 1.1), Library(130, 1.8))
"""Nangate 45, typical, and sky130_fd_sc_hd, typical."""


class Unit(NamedTuple):
    """A multiply-accumulate unit with a 24-bit accumulator; pairs go by `LIBRARIES`.

    Attributes:
      combinational: pJ of logic with glitches.
      whole: pJ with flip-flops and clock.
      area: in square micrometres.
      per_bit: what another bit of the accumulator adds to the energy at 24 bits, as a part of it;
        measured between 24 and 32 bits at 45 nm. None if it was not.
      beside: whether it is known beside one shift alone.
    """

    combinational: tuple[float, float]
    whole: tuple[float, float]
    area: tuple[float, float]
    per_bit: float | None
    beside: bool = False

    @property
    def error(self) -> float:
        """By which its energies are worse known than those of others, as a factor."""
        return BESIDE_ERROR if self.beside else 1.0


SIMULATED = {
    "shift": Unit((0.69, 2.91), (1.23, 5.53), (411, 2018), (1.54 - 1.23) / 8 / 1.23),
    "two shifts": Unit((1.43, 6.44), (2.13, 9.71), (595, 3073), (2.41 - 2.13) / 8 / 2.13),
    "4x8": Unit((1.52, 5.28), (2.15, 7.87), (700, 3501), (2.73 - 2.15) / 8 / 2.15),
    "8x8": Unit((2.93, 9.62), (3.69, 12.84), (1033, 5421), None),
    "float32": Unit((22.3, 78.3), (25.6, 92.3), (6035, 29233), None),
}


class Beside(NamedTuple):
    """What a unit takes for each of one shift; `per_bit` as in `Unit`, of the third library."""

    combinational: float
    whole: float
    area: float
    per_bit: float

    def unit(self) -> Unit:
        """The same in pJ and square micrometres."""
        shift = SIMULATED["shift"]
        combinational, whole, area = (
            (ratio * first, ratio * second)
            for ratio, (first, second) in zip(self[:3], shift[:3], strict=True)
        )
        return Unit(combinational, whole, area, self.per_bit, beside=True)


BESIDE = {
    "one bit": Beside(0.568, 0.691, 0.77, 0.032),
    "signs": Beside(0.125, 0.155, 0.15, 0.016),
    "table 3x3": Beside(0.617, 0.673, 0.92, 0.029),
    "table 3x5": Beside(1.04, 0.954, 1.42, 0.024),
    "table 3x8": Beside(3.00, 2.17, 1.84, 0.025),
    "table 4x3": Beside(1.15, 1.00, 1.23, 0.015),
    "table 4x5": Beside(1.76, 1.39, 1.59, 0.033),
    "table 4x8": Beside(4.29, 2.95, 2.10, 0.019),
}
"""`python -m benchmarks.rtl_energy`, draws. Signs are one of eight that are counted at once. A
table has a level's number of so many bits and an activation of so many, in parts as engines do."""

UNITS = SIMULATED | {name: beside.unit() for name, beside in BESIDE.items()}

TABLE_CODES, TABLE_ACTIVATIONS = (3, 4), (3, 5, 8)
"""Bits of the tables in `BESIDE`."""


def scale(library: Library, node: float, voltage: float) -> float:
    """The factor from a library's energy to that at another node: length x voltage**2.

    Example:
      >>> [round(scale(library, 65, 1.2), 3) for library in LIBRARIES]
      [1.719, 0.222]
    """
    if node <= 0 or voltage <= 0:
        raise ValueError(f"node={node} nm and voltage={voltage} V must be positive")
    return node / library.node * (voltage / library.voltage) ** 2


def between(values: tuple[float, float], node: float, voltage: float) -> float:
    """The geometric mean of both libraries' energies, scaled; the library's own at its node."""
    for library, value in zip(LIBRARIES, values, strict=True):
        if (node, voltage) == library:
            return value
    scaled = [v * scale(lib, node, voltage) for lib, v in zip(LIBRARIES, values, strict=True)]
    return math.sqrt(math.prod(scaled))


def operation(
    unit: str,
    *,
    accumulator_bits: int = 24,
    whole: bool = False,
    node: float = 65,
    voltage: float = 1.2,
) -> Number:
    """Energy of one multiply-accumulate, in pJ.

    Args:
      unit: of `UNITS`.
      accumulator_bits: of the sum; a unit grows linearly with it.
      whole: with flip-flops and clock, or the logic alone.
      node: in nm; 45 and 130 were simulated.
      voltage: in V.

    Raises:
      ValueError: if the unit is unknown, or a number out of range.

    Example:
      >>> shift = operation("shift")
      >>> round(shift.value, 2), shift.bar
      (0.88, '±40 %')
    """
    if unit not in UNITS:
        raise ValueError(f"unit {unit!r} is unknown: choose one of {', '.join(UNITS)}")
    if accumulator_bits < 1:
        raise ValueError(f"accumulator_bits={accumulator_bits} must be at least 1")
    record = UNITS[unit]
    value = between(record.whole if whole else record.combinational, node, voltage)
    value *= 1 + (record.per_bit or 0.0) * (accumulator_bits - 24)
    origin = "gate-level simulation, Nangate 45 and sky130"
    if record.beside:
        origin += ", beside a shift in OSU 180"
    return Number(value, ABSOLUTE_ERROR * record.error, origin)


def unit_of(layer: LayerWork) -> str:
    """Which of `UNITS` an engine of a layer has.

    Signs are counted where weights are signs as well, and there is one group. Levels are looked up
    in the smallest known table that has room for a number and an activation; with more levels than
    any has, a multiplier stands for it.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> [unit_of(layer) for layer in from_network("net4", "table40").layers[:2]]
      ['table 3x8', 'table 3x3']
    """
    row = layer.arithmetic
    if row.asic_of_signs and layer.signs and layer.groups == 1:
        return row.asic_of_signs
    if not row.numbered:
        return row.asic
    code = next((bits for bits in TABLE_CODES if bits >= layer.bits), None)
    if code is None:
        return row.asic
    kept = layer.lookup.kept
    wide = next((bits for bits in TABLE_ACTIVATIONS if bits >= kept), TABLE_ACTIVATIONS[-1])
    return f"table {code}x{wide}"


def ratio_error(workload: Workload) -> float:
    """The factor within which a workload's energy is known beside that of another one."""
    return RATIO_ERROR * max(UNITS[unit_of(layer)].error for layer in workload.layers)


def area(unit: str, node: float = 65) -> Number:
    """Area of a unit with a 24-bit accumulator, in square micrometres, scaled as length**2.

    The two libraries differ by 1.7x after scaling to 65 nm, so between them it is no more than an
    interpolation.

    Example:
      >>> area("shift", 45).value, area("shift").bar
      (411, 'unverified')
    """
    if unit not in UNITS or node <= 0:
        raise ValueError(
            f"unit {unit!r} at {node} nm: choose one of {', '.join(UNITS)}, and a positive node"
        )
    record = UNITS[unit]
    pairs = list(zip(LIBRARIES, record.area, strict=True))
    for library, value in pairs:
        if library.node == node:
            error = RATIO_ERROR * (BESIDE_AREA_ERROR if record.beside else 1.0)
            return Number(value, error, "synthesis")
    scaled = [value * (node / library.node) ** 2 for library, value in pairs]
    return Number(math.sqrt(math.prod(scaled)), None, "interpolated between 45 and 130 nm")


def layer_energy(
    layer: LayerWork, *, whole: bool = False, node: float = 65, voltage: float = 1.2
) -> Number:
    """Energy of a layer's arithmetic for one image, in nJ: operations x energy of one.

    A term is one operation of the shift unit, used k times (figure 3); so it is linear in k, and
    zero for a pruned filter.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> one, two = (from_network("net1", s).largest().layers[0] for s in ("lightnn1", "lightnn2"))
      >>> round(layer_energy(two).value / layer_energy(one).value, 2)  # a wider sum, and twice
      2.06
    """
    unit, bits = unit_of(layer), layer.accumulator_bits
    one = operation(unit, accumulator_bits=bits, whole=whole, node=node, voltage=voltage)
    if layer.arithmetic.numbered and unit not in BESIDE:
        one = one._replace(factor=None, origin="a multiplier in place of tables")
    return one.times(layer.operations / 1e3)


def energy(
    workload: Workload, *, whole: bool = False, node: float = 65, voltage: float = 1.2
) -> Number:
    """Energy of a workload's arithmetic for one image, in nJ: the sum over its layers.

    The paper's figure 5 shows `workload.largest()`.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> round(energy(from_network("net1", "lightnn1").largest()).value)
      2131
    """
    return total(layer_energy(x, whole=whole, node=node, voltage=voltage) for x in workload.layers)


def ratio(unit: str, to: str = "shift", *, whole: bool = False, node: float = 65) -> Number:
    """One unit's energy over another's, which is known better than either.

    Example:
      >>> four = ratio("4x8")
      >>> round(four.value, 2), four.bar
      (2.0, '±15 %')
    """
    first, second = (operation(name, whole=whole, node=node) for name in (unit, to))
    error = RATIO_ERROR * UNITS[unit].error * UNITS[to].error
    return Number(first.value / second.value, error, first.origin)
