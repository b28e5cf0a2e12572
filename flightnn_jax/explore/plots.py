"""Pictures of runs, for the screen and for paper: curves over epochs, k by layer, thresholds.

What tells things apart is never colour alone: lines have markers and dashes, areas have hatches.
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flightnn_jax import atomic
from flightnn_jax.explore.results import Curve, Result

# Sizes are of print: 7 inches are the width of a page.
STYLE: dict[str, Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.wspace": 0.06,
    "figure.dpi": 200,
    "font.size": 9,
    "grid.color": "0.9",
    "hatch.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "savefig.dpi": 200,
    "svg.hashsalt": "flightnn_jax",  # or names of parts would differ from time to time
}
WIDTH = 7.0
# From dark to light in grey, too; told apart by people who see no red or no green.
_COLOURS = ("#000000", "#20497f", "#b03a2e", "#1b8a6b", "#d98a00", "#6fa8dc", "#a05fb0")
_MARKERS = "osD^vPX<>"
_DASHES = ("-", "--", "-.", ":")
_DECADE = 10  # from which ratio on an axis is logarithmic
_MARKS = 12  # on a line
_LONGEST_NAME = 50  # letters in a legend
_MEANS = (("filters", "mean_k"), ("weights", "mean_k_of_weights"))
_AREAS = ("#ffffff", "#b9cce4", "#20497f", "#000000")  # of k = 0, 1, 2, ...
_HATCHES = ("....", "////", "", "xxxx")
_WEIGHT, _POINTS = 1.0, 2001  # of a penalty's curve

Series = tuple[str, Curve]


def pictures(runs: Sequence[Result]) -> dict[str, Figure]:
    """The pictures of one run, or of several beside each other, by name.

    A picture for which runs have no numbers is left out.
    """
    with matplotlib.style.context(["default", STYLE]):
        made = _of_one(runs[0]) if len(runs) == 1 else _of_many(runs)
        return {name: figure for name, figure in made if figure is not None}


def save(figures: dict[str, Figure], directory: Path) -> list[Path]:
    """Writes NAME.png and NAME.svg of each; the same pictures give the same bytes.

    Raises:
      OSError: if that is not possible.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    with matplotlib.style.context(["default", STYLE]):
        for name, figure in figures.items():
            for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                data = io.BytesIO()
                figure.savefig(data, format=kind, metadata=metadata)
                paths.append(directory / f"{name}.{kind}")
                atomic.write(paths[-1], data.getvalue())
    return paths


def _of_one(run: Result) -> Iterator[tuple[str, Figure | None]]:
    accuracy = [
        ("train", _percent(run.curve("train", "accuracy"))),
        ("validation", _percent(run.curve("validation", "top1"))),
    ]
    loss = [(split, run.curve(split, "loss")) for split in ("train", "validation")]
    yield "training", _side_by_side(("accuracy (%)", accuracy), ("loss (nats)", loss))
    yield "k_by_layer", _k_by_layer(run)
    yield "k_over_training", _k_over_training(run)
    yield "thresholds", _thresholds(run)
    yield "penalty", _penalty(run)


def _of_many(runs: Sequence[Result]) -> Iterator[tuple[str, Figure | None]]:
    accuracy = [(run.name, _percent(run.curve("validation", "top1"))) for run in runs]
    loss = [(run.name, run.curve("validation", "loss")) for run in runs]
    panels = ("validation accuracy (%)", accuracy), ("validation loss (nats)", loss)
    yield "training", _side_by_side(*panels)
    yield "accuracy_and_storage", _accuracy_and_storage(runs)
    yield "k_by_layer", _mean_k_by_layer([run for run in runs if run.layers])
    means = [(run.name, run.curve("mean_k")) for run in runs]
    yield "k_over_training", _side_by_side(("mean k", means))


def _percent(curve: Curve) -> Curve:
    return Curve(curve.epochs, 100 * curve.values)


def _looks(count: int) -> list[dict[str, Any]]:
    """How the lines of a picture look: no two share marker and dashes."""
    return [
        {
            "color": _COLOURS[i % len(_COLOURS)],
            "marker": _MARKERS[i % len(_MARKERS)],
            "linestyle": _DASHES[i % len(_DASHES)],
            "markerfacecolor": "white" if i % 2 else _COLOURS[i % len(_COLOURS)],
        }
        for i in range(count)
    ]


def _lines(axes: Axes, series: Sequence[Series]) -> None:
    """Draws curves over epochs."""
    for i, ((name, curve), look) in enumerate(zip(series, _looks(len(series)), strict=True)):
        if not curve.epochs.size:
            continue
        every = -(-curve.epochs.size // _MARKS)
        axes.plot(*curve, label=name, markevery=(i * every // len(series), every), **look)
    _epoch_axis(axes)


def _epoch_axis(axes: Axes) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def _side_by_side(*panels: tuple[str, Sequence[Series]]) -> Figure | None:
    """Curves of several quantities over epochs, with one legend above; None without a point."""
    panels = tuple(p for p in panels if any(curve.epochs.size for _, curve in p[1]))
    if not panels:
        return None
    figure = Figure(figsize=(WIDTH, 2.7))
    for i, (label, series) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), i + 1)
        _lines(axes, series)
        axes.set_ylabel(label)
    legend_above(figure)
    return figure


def legend_above(figure: Figure) -> None:
    """One legend for all axes; the figure grows with its rows."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    names = [n if len(n) <= _LONGEST_NAME else f"{n[:12]} ... {n[-34:]}" for n in entries]
    width, height = figure.get_size_inches()
    columns = max(1, int(14 * width / (10 + max(map(len, names)))))
    rows = -(-len(names) // columns)
    figure.set_size_inches(width, height + 0.17 * rows)
    place: Any = "outside upper center"
    columns = -(-len(names) // rows)  # no more than the rows need, so that they are alike
    figure.legend(entries.values(), names, loc=place, ncols=columns, handlelength=3)


def _k_by_layer(run: Result) -> Figure | None:
    """A bar for each layer: which part of its filters has k = 0, 1, 2, ..."""
    if not run.layers:
        return None
    figure = Figure(figsize=(WIDTH, 1.0 + 0.26 * len(run.layers)))
    axes = figure.add_subplot()
    places = np.arange(len(run.layers))
    left = np.zeros(len(run.layers))
    for k in range(max(len(layer.share) for layer in run.layers)):
        parts = np.array([100 * sum(layer.share[k : k + 1]) for layer in run.layers])
        area, hatch = _AREAS[k % len(_AREAS)], _HATCHES[k % len(_HATCHES)]
        look: dict[str, Any] = {"color": area, "hatch": hatch, "edgecolor": "black", "lw": 0.6}
        axes.barh(places, parts, 0.7, left, label=f"k = {k}", **look)
        left += parts
    for place, layer in enumerate(run.layers):
        axes.text(102, place, f"{layer.mean_k:.2f}", va="center")
    axes.text(102, -0.9, "mean k", va="center")
    axes.set_yticks(places, [f"{layer.label} ({layer.filters})" for layer in run.layers])
    axes.set(xlim=(0, 100), ylim=(len(run.layers) - 0.4, -0.6))
    axes.set(xlabel="share of filters (%)", ylabel="layer (filters)")
    axes.grid(visible=False)
    legend_above(figure)
    return figure


def _k_over_training(run: Result) -> Figure | None:
    """The mean k of the network and, as a map, that of each layer."""
    means = [(f"mean over {of}", run.curve(key)) for of, key in _MEANS]
    epochs = means[0][1].epochs
    if not epochs.size or not run.layers:
        return None
    figure = Figure(figsize=(WIDTH, max(2.7, 1.0 + 0.17 * len(run.layers))))
    curves, layers = figure.subplots(1, 2)
    _lines(curves, means)
    if run.budget is not None:
        curves.axhline(run.budget, color="0.45", linestyle=":", label="budget")
    curves.set_ylabel("mean k")
    legend_above(figure)
    values = np.full((len(run.layers), epochs.size), np.nan)
    for row, layer in zip(values, run.layers, strict=True):
        curve = run.curve("layers", layer.name, "mean_k")
        row[np.isin(epochs, curve.epochs)] = curve.values[np.isin(curve.epochs, epochs)]
    middles = (epochs[1:] + epochs[:-1]) / 2
    edges = np.array([epochs[0] - 0.5, *middles, epochs[-1] + 0.5])
    most = max(len(layer.share) for layer in run.layers) - 1
    rows = np.arange(len(run.layers) + 1) - 0.5
    # An image in the SVG, too: cells drawn one by one have seams.
    cells = layers.pcolormesh(edges, rows, values, cmap="Blues", vmin=0, vmax=most, rasterized=True)
    figure.colorbar(cells, label="mean k", ticks=MaxNLocator(4))
    layers.set_yticks(range(len(run.layers)), [layer.label for layer in run.layers])
    layers.invert_yaxis()
    layers.grid(visible=False)
    _epoch_axis(layers)
    return figure


def _thresholds(run: Result) -> Figure | None:
    """A panel for each threshold of a filter's terms; layers that share them are one line."""
    panels = []
    for term in range(max((len(layer.share) for layer in run.layers), default=1) - 1):
        curves = [run.curve("layers", layer.name, "thresholds", term) for layer in run.layers]
        series = [(layer.label, curve) for layer, curve in zip(run.layers, curves, strict=True)]
        panels.append((f"threshold of term {term + 1}", series))
    if all(np.array_equal(curve, of[0][1]) for _, of in panels for _, curve in of):
        panels = [(label, [("all layers", of[0][1])]) for label, of in panels]
    return _side_by_side(*panels)


def _penalty(run: Result) -> Figure | None:
    """What a weight adds to the loss that is alone in its filter: figure 4 of the paper."""
    second = run.config.get("lambda1")
    if run.config.get("scheme") != "flightnn" or not isinstance(second, float | int) or not second:
        return None
    first = run.config.get("lambda0")
    first = second / 3 if first is None else first
    w = np.linspace(-_WEIGHT, _WEIGHT, _POINTS)
    norms = first * np.abs(w), second * np.abs(w - _rounded(w, run.config.get("rounding")))
    figure = Figure(figsize=(WIDTH / 2, 3))
    axes = figure.add_subplot()
    labels = f"{first:.3g} |w|", f"{second:.3g} |w - R(w)|", "their sum"
    for label, values, dashes, colour in zip(
        labels,
        (*norms, sum(norms)),
        _DASHES[1:3] + _DASHES[:1],
        _COLOURS[1:3] + _COLOURS[:1],
        strict=True,
    ):
        axes.plot(w, values, label=label, linestyle=dashes, color=colour)
    axes.set(xlabel="weight", ylabel="penalty")
    axes.set_ylim(bottom=0)
    legend_above(figure)
    return figure


def _rounded(w: np.ndarray, rounding: str | None) -> np.ndarray:
    """To powers of two, without a window; see `Config.rounding`."""
    part, exponent = np.frexp(np.abs(w))  # part is from 1/2 to 1
    up = part >= (0.75 if rounding == "linear" else 0.5**0.5)
    return np.where(w == 0, 0, np.sign(w) * np.ldexp(0.5, exponent + up))


def _accuracy_and_storage(runs: Sequence[Result]) -> Figure:
    figure = Figure(figsize=(WIDTH / 2, 3))
    axes = figure.add_subplot()
    for run, look in zip(runs, _looks(len(runs)), strict=True):
        place = [run.storage_bits / 8e3], [100 * run.top1]
        axes.plot(*place, label=run.name, **{**look, "linestyle": "", "markersize": 7})
    axes.margins(0.1)
    sizes = [run.storage_bits for run in runs]
    if max(sizes) > _DECADE * max(1, min(sizes)):
        axes.set_xscale("log")
    axes.set(xlabel="weights (kB)", ylabel="test accuracy (%)")
    legend_above(figure)
    return figure


def _mean_k_by_layer(runs: Sequence[Result]) -> Figure | None:
    """The mean k of each layer, a line for each run."""
    if not runs:
        return None
    names = list(dict.fromkeys(layer.label for run in runs for layer in run.layers))
    figure = Figure(figsize=(WIDTH, 3))
    axes = figure.add_subplot()
    for run, look in zip(runs, _looks(len(runs)), strict=True):
        places = [names.index(layer.label) for layer in run.layers]
        axes.plot(places, [layer.mean_k for layer in run.layers], label=run.name, **look)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set(xlabel="layer", ylabel="mean k")
    legend_above(figure)
    return figure
