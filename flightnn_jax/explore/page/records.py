"""The data of a page: members, their designs and their costs by layer, as short as can be.

Designs of a workload on a device in a style are a *sheet* of columns; a column in which all designs
have the same number is that number. Costs by layer are `steps`, what a layer's stage can be, and
`picks`, which of them each design takes. model.js reads all this.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flightnn_jax import schemes
from flightnn_jax.explore import commands, costs, fronts
from flightnn_jax.explore.commands import Program
from flightnn_jax.explore.costs import Sheet
from flightnn_jax.explore.members import Member
from flightnn_jax.hardware import asic
from flightnn_jax.hardware.device import RESOURCES, Device
from flightnn_jax.hardware.records import Estimate, Number, total
from flightnn_jax.hardware.workload import Workload

Sheets = list[list[Sheet]]
_DIGITS = 5  # of measured and modelled numbers
_NO_ERROR = [None, "unverified"]


class Sweep(NamedTuple):
    """What a page is made of; `page.page` says more of the fields.

    Attributes:
      members: of the sweep.
      sheets: of each member, of each device and style; none for a member without work.
      devices: that a user can choose from.
      styles: likewise.
      program: with which commands are told.
      notes: what else to know.
    """

    members: Sequence[Member]
    sheets: Sequence[Sequence[Sheet]]
    devices: Sequence[Device]
    styles: Sequence[str]
    program: Program
    notes: Sequence[str]


def costed(members: Sequence[Member], devices: Sequence[Device], styles: Sequence[str]) -> Sheets:
    """All designs of each member; members with the same work share them."""
    known: dict[tuple[Workload, str, str], Sheet] = {}

    def sheet(work: Workload, device: Device, style: str) -> Sheet:
        key = (work, device.name, style)
        if key not in known:
            known[key] = costs.sheet(work, device, style)
        return known[key]

    return [
        [sheet(m.work, device, style) for device in devices for style in styles] if m.work else []
        for m in members
    ]


def of(sweep: Sweep, alike: float) -> dict[str, Any]:
    """The data; designs that are alike within this part are one (see `costs.thinned`)."""
    own = [costs.of(member, sweep.devices[0]) for member in sweep.members]
    seeds = _seeds(sweep.members)
    boards = {device.name: device for device in sweep.devices}
    members: list[dict[str, Any]] = []
    told: dict[str, str] = {}
    for member, cost, every in zip(sweep.members, own, sweep.sheets, strict=True):
        sheets = [costs.thinned(sheet, boards[sheet.device], alike) for sheet in every]
        told |= {sheet.style: " ".join(sheet.designs[0].notes) for sheet in sheets if sheet.designs}
        members.append(_member(sweep, member, cost, sheets, seeds.get(member.group)))
    designs = sum(sheet.get("count", 0) for member in members for sheet in member["sheets"])
    one = ""
    if alike:
        one = f"; designs alike within {100 * alike:.0f} % in speed, latency and share are one"
    return {
        "made": (
            f"{_counted(len(members), 'network')}, {_counted(designs, 'Pareto-optimal design')}"
            f"{one}. Made by "
            f"flightnn_jax {sweep.program.version}; every figure comes with its error."
        ),
        "schemes": [{"name": s.name, "label": s.label} for s in schemes.SCHEMES],
        "devices": [
            {"name": device.name, "clock_mhz": device.clock_mhz, **device.available()}
            for device in sweep.devices
        ],
        "styles": list(sweep.styles),
        "notes_of_styles": told,
        "summary": [
            {"setting": setting, "tables": tables}
            for setting, tables in fronts.tables(sweep.members, own)
            if tables
        ],
        "summary_note": f"{fronts.NOTE} Throughput is that of engines on {sweep.devices[0].name}.",
        "notes": list(sweep.notes),
        "members": members,
    }


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _seeds(members: Sequence[Member]) -> dict[str, dict[str, Any]]:
    """By group, the test accuracy over its seeds; groups of one seed are left out."""
    groups: dict[str, list[float]] = {}
    for member in members:
        groups.setdefault(member.group, []).append(100 * member.run.top1)
    spreads = {group: fronts.spread(values) for group, values in groups.items()}
    return {
        group: {"mean": _short(s.mean), "error": _short(s.error), "count": s.seeds}
        for group, s in spreads.items()
        if s.error is not None
    }


def _member(
    sweep: Sweep,
    member: Member,
    cost: fronts.Costs,
    sheets: Sequence[Sheet],
    seeds: dict[str, Any] | None,
) -> dict[str, Any]:
    run = member.run
    device, style = sweep.devices[0].name, sweep.styles[0]
    names = [device.name for device in sweep.devices]
    return {
        "name": member.name,
        "title": member.title,
        "scheme": member.scheme.name,
        "seed": member.seed,
        "seeds": seeds,
        "setting": member.setting,
        "workdir": str(run.workdir),
        "test": _short(100 * run.top1),
        "validation": None if run.validation is None else _short(100 * run.validation),
        "judged": _short(100 * member.judged),
        "mean_k": None if run.mean_k is None else _short(run.mean_k),
        "kb": _short(cost["kb"].value),
        **_number("nj", cost.get("nj")),
        **_number("wired", cost.get("lut")),
        "layers": _layers(member),
        "verilog": _verilog(run.workdir),
        "made": commands.made(member, sweep.program),
        "build": commands.build(member, device, style, sweep.program),
        "sheets": [
            _sheet(sheet, names.index(sheet.device), sweep.styles.index(sheet.style))
            for sheet in sheets
        ],
    }


def _number(key: str, number: Number | None) -> dict[str, Any]:
    if number is None:
        return {key: None, f"{key}_error": None}
    return {key: _short(number.value), f"{key}_error": _error(number)}


def _error(number: Number) -> list[Any]:
    return [number.factor, number.bar]


def _short(value: float | None) -> float | None:
    """To `_DIGITS` digits; whole numbers as they are, and infinite ones as no number."""
    if value is None or not math.isfinite(value):
        return None
    if value == int(value):
        return int(value)
    return float(f"{value:.{_DIGITS}g}")


def _layers(member: Member) -> list[dict[str, Any]]:
    """Of each layer what does not depend on a design."""
    if member.work is None:
        return []
    rows = []
    for layer in member.work.layers:
        shifts = layer.arithmetic.k_range[1] > 1
        counts = [layer.k.count(k) for k in range(max(layer.k) + 1)]
        rows.append(
            {
                "name": layer.name,
                "filters": layer.filters,
                "mean_k": _short(layer.mean_k) if shifts else None,
                "share": [_short(count / layer.filters) for count in counts] if shifts else None,
                "widths": member.widths.get(layer.name),
                "products": layer.multiplications,
                "kb": _short(layer.weight_bits / 8e3),
                "nj": _short(asic.layer_energy(layer).value),
            }
        )
    return rows


def _verilog(workdir: Path) -> dict[str, Any] | None:
    """How much Verilog lies in a run's directory or in a folder of it; None if there is none."""
    files = sorted([*workdir.glob("*.v"), *workdir.glob("*/*.v")])
    if not files:
        return None
    texts = [path.read_bytes() for path in files]
    return {
        "folder": str(files[0].parent),
        "files": len(files),
        "lines": sum(text.count(b"\n") for text in texts),
        "bytes": sum(map(len, texts)),
    }


def _sheet(sheet: Sheet, device: int, style: int) -> dict[str, Any]:
    """A sheet as columns."""
    start: dict[str, Any] = {"device": device, "style": style}
    if not sheet.designs:
        return {**start, "reason": sheet.reason}
    designs = sheet.designs
    layers = range(len(designs[0].layers))
    tables: list[dict[tuple[Any, ...], int]] = [{} for _ in layers]
    picks: list[list[int]] = [[] for _ in layers]
    for design in designs:
        for i in layers:
            step = _step(design, i)
            picks[i].append(tables[i].setdefault(step, len(tables[i])))
    columns: dict[str, list[Any]] = {
        "batch": [design.design.batch for design in designs],
        "ips": [_short(design.images_per_s.value) for design in designs],
        "ms": [_short(design.latency_ms.value) for design in designs],
        **{name: [_short(d.resources[name].value) for d in designs] for name in RESOURCES},
    }
    return {
        **start,
        "count": len(designs),
        **{name: _column(column) for name, column in columns.items()},
        "steps": [list(table) for table in tables],
        "picks": [_column(pick) for pick in picks],
        "errors": _errors(designs[0]),
    }


def _step(design: Estimate, i: int) -> tuple[Any, ...]:
    """Rounds, cycles, LUT and BRAM of a layer; None where all layers share the hardware."""
    layer = design.layers[i]
    folding = design.design.folding
    own = [layer.resources[name].value if layer.resources else None for name in ("LUT", "BRAM")]
    rounds = folding[i] if i < len(folding) else None
    return (rounds, _short(layer.cycles.value), *map(_short, own))


def _column(values: list[Any]) -> Any:
    return values[0] if len(set(values)) == 1 else values


def _errors(design: Estimate) -> dict[str, Any]:
    """Of each column; that of a layer's column is the largest of its layers."""
    errors = {
        "ips": _error(design.images_per_s),
        "ms": _error(design.latency_ms),
        "cycles": _error(total(layer.cycles for layer in design.layers)),
        **{name: _error(design.resources[name]) for name in RESOURCES},
    }
    for name in ("LUT", "BRAM"):
        parts = [layer.resources[name] for layer in design.layers if layer.resources]
        errors[f"layer_{name}"] = _error(total(parts)) if parts else _NO_ERROR
    return errors
