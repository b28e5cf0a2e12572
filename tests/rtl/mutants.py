"""Netlists with one thing wrong."""

import itertools

KINDS = (
    "a constant bit",
    "another shift",
    "swapped operands",
    "a dropped adder",
    "a narrower word",
    "an inverted bit",
    "another operation",
    "a dropped register",
    "another word",
)


def mutant(rng, netlist, kind):
    """The netlist with a fault of a kind at random; None where there is no place for one."""
    adders = [i for i, cell in enumerate(netlist.cells) if cell.kind in ("$add", "$sub")]
    kept = [i for i, cell in enumerate(netlist.cells) if cell.kind == "$dffe"]
    place = int(rng.choice(kept if kind == "a dropped register" else adders))
    cell = netlist.cells[place]
    if kind == "a dropped register":
        return without(netlist, place, cell.ports["D"])
    port = "AB"[rng.integers(2)]
    bits = cell.ports[port]
    free = (
        max([0, *(b for c in netlist.cells for bit in c.ports.values() for b in numbers(bit))]) + 1
    )
    if kind == "a constant bit":
        i = rng.integers(len(bits))
        flipped = {"0": "1", "1": "0"}.get(bits[i], str(rng.integers(2)))
        return with_port(netlist, place, port, (*bits[:i], flipped, *bits[i + 1 :]))
    if kind == "another shift":
        return with_port(netlist, place, port, ("0", *bits[:-1]))
    if kind == "swapped operands":
        return with_ports(netlist, place, A=cell.ports["B"], B=cell.ports["A"])
    if kind == "a dropped adder":
        return without(netlist, place, bits)
    if kind == "a narrower word":
        sums = cell.ports["Y"]
        return renamed(netlist, {sums[-1]: sums[-2]}, keep=place)
    if kind == "an inverted bit":
        out = cell.ports["Y"]
        i = rng.integers(len(out))
        inverter = type(cell)("$not", {"A_SIGNED": 0}, {"A": (free,), "Y": (out[i],)})
        first = with_port(netlist, place, "Y", (*out[:i], free, *out[i + 1 :]))
        return first._replace(cells=(*first.cells, inverter))
    if kind == "another operation":
        other = {"$add": "$sub", "$sub": "$add"}[cell.kind]
        return with_cell(netlist, place, cell._replace(kind=other))
    other = netlist.cells[int(rng.choice(adders))].ports[port]
    return None if len(other) != len(bits) else with_port(netlist, place, port, other)


def numbers(bits):
    return (bit for bit in bits if isinstance(bit, int))


def with_cell(netlist, place, cell):
    cells = list(netlist.cells)
    cells[place] = cell
    return netlist._replace(cells=tuple(cells))


def with_ports(netlist, place, **ports):
    cell = netlist.cells[place]
    return with_cell(netlist, place, cell._replace(ports={**cell.ports, **ports}))


def with_port(netlist, place, port, bits):
    return with_ports(netlist, place, **{port: tuple(bits)})


def without(netlist, place, bits):
    """The netlist where what reads a cell reads these bits in its place."""
    cell = netlist.cells[place]
    cells = netlist.cells[:place] + netlist.cells[place + 1 :]
    given = dict(zip(cell.outputs, itertools.chain(bits, itertools.repeat("0")), strict=False))
    return renamed(netlist._replace(cells=cells), given)


def renamed(netlist, names, keep=None):
    """The netlist with other bits read; the cell `keep` stays as it is."""

    def new(bits):
        return tuple(names.get(bit, bit) for bit in bits)

    cells = tuple(
        cell
        if i == keep
        else cell._replace(ports={name: new(bits) for name, bits in cell.ports.items()})
        for i, cell in enumerate(netlist.cells)
    )
    return netlist._replace(ports={n: new(b) for n, b in netlist.ports.items()}, cells=cells)
