"""Draws pictures/weights.svg: what the two quantizers do, and what they cost network 1.

    python docs/pictures/draw.py

The steps on the left are computed by the library. The points on the right are the rows of
docs/results.md, which this program reads, with their standard error.
"""

import math
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import flightnn_jax as fl

HERE = Path(__file__).parent
INK, GREY, BLUE, ORANGE = "#222", "#999", "#1f5fbf", "#d9600f"
HEIGHT, WIDTH, TOP, BOTTOM = 300, 820, 44, 250
STANDARD_ERROR = 0.4  # percentage points of a row
LABELS = {
    "full precision": "float32",
    "LightNN-2": "two shifts",
    "FLightNN, budget 1.5": "FLightNN: one or two",
    "LightNN-1": "one shift",
    "FP 4W8A": "4-bit fixed point",
}
# Where the labels stand that would cover something beside their points.
PLACES = {"float32": ("end", -8, 4), "FLightNN: one or two": ("end", 60, -24)}


def text(x: float, y: float, words: str, anchor: str = "middle", colour: str = INK) -> str:
    """A line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def line(x0: float, y0: float, x1: float, y1: float, colour: str = GREY) -> str:
    """A straight line."""
    ends = f'x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"'
    return f'<line {ends} stroke="{colour}"/>'


def steps() -> list[str]:
    """Q(w) of one and of two powers of two for weights from 0 to 1."""
    left, right = 50, 370
    w = np.linspace(0, 1, 2001, dtype=np.float32)
    drawn = [
        line(left, BOTTOM, right, BOTTOM),
        line(left, BOTTOM, left, TOP),
        line(left, BOTTOM, right, TOP, "#ccc"),
        text((left + right) / 2, BOTTOM + 34, "trained weight"),
        text(left, TOP - 12, "stored weight", "start"),
    ]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        y = BOTTOM - tick * (BOTTOM - TOP)
        drawn.append(text(left - 6, y + 4, f"{tick:g}", "end"))
        drawn.append(text(left + tick * (right - left), BOTTOM + 16, f"{tick:g}"))
    names = ("one power of two: a shift", "two: two shifts and an addition")
    for k, (colour, name) in enumerate(zip((ORANGE, BLUE), names, strict=True), start=1):
        stored = np.asarray(fl.quantize_params(jnp.array(w)[:, None], fl.Shift(k=k)))[:, 0]
        points = [
            f"{left + a * (right - left):.1f},{BOTTOM - b * (BOTTOM - TOP):.1f}"
            for a, b in zip(w, stored, strict=True)
        ]
        # A step's inner points say nothing: keep where it begins and ends.
        ends = [
            i for i in range(len(w)) if not 0 < i < len(w) - 1 or len({*stored[i - 1 : i + 2]}) > 1
        ]
        path = " ".join(points[i] for i in ends)
        drawn.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
        )
        drawn.append(text(left + 12, TOP + 4 + 18 * k, name, "start", colour))
    return drawn


def rows() -> list[tuple[str, float, float]]:
    """(label, accuracy, kB) of the first table of results.md."""
    table = (HERE.parent / "results.md").read_text()
    read = re.findall(r"^\| ([^|]+?) \| ([\d.]+) \| [\d. ]*\| ([\d.]+) \|$", table, re.MULTILINE)
    chosen = [(LABELS[n], float(a), float(kb)) for n, a, kb in read[:5] if n in LABELS]
    assert len(chosen) == len(LABELS), chosen
    return chosen


def results() -> list[str]:
    """Accuracy of network 1 against the storage of its weights."""
    left, right, low, high = 470, 790, 81.5, 85.5
    drawn = [
        line(left, BOTTOM, right, BOTTOM),
        line(left, BOTTOM, left, TOP),
        text((left + right) / 2, BOTTOM + 34, "weights of network 1, kB"),
        text(left, TOP - 12, "accuracy on CIFAR-10, % (bars: standard error)", "start"),
    ]

    def across(kb: float) -> float:
        return left + (right - left) * math.log(kb / 28) / math.log(420 / 28)

    def up(accuracy: float) -> float:
        return BOTTOM - (accuracy - low) / (high - low) * (BOTTOM - TOP)

    drawn += [text(left - 6, up(a) + 4, f"{a}", "end") for a in (82, 83, 84, 85)]
    drawn += [text(across(kb), BOTTOM + 16, f"{kb}") for kb in (40, 80, 160, 320)]
    for label, accuracy, kb in rows():
        x, y = across(kb), up(accuracy)
        colour = BLUE if label.startswith("FLightNN") else INK
        drawn.append(line(x, up(accuracy - STANDARD_ERROR), x, up(accuracy + STANDARD_ERROR)))
        drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')
        anchor, dx, dy = PLACES.get(label, ("start", 8, 4))
        drawn.append(text(x + dx, y + dy, label, anchor, colour))
    return drawn


def picture() -> str:
    """The whole SVG."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'font-family="sans-serif" font-size="12"><title>How weights become powers of two, and '
        'what that costs network 1</title><rect width="100%" height="100%" fill="white"/>'
    )
    return "\n".join([head, *steps(), *results(), "</svg>", ""])


if __name__ == "__main__":
    (HERE / "weights.svg").write_text(picture())
