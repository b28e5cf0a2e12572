"""Milliseconds of the explorer's page with 10,000 points, in a headless Chromium.

    python -m benchmarks.explorer [--rounds=9]

Medians of two times. One is of the page's main thread on its processor, so that other work on the
machine counts little; the other is a user's, performance.now() of the page from the navigation, or
the event, until it is drawn. Both are to load and draw, for a key that moves to another point, and
for a step of a budget's slider. The page is one of 400 networks with 25 designs each.
"""

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from tests.support import browser, sweeps

_ROUNDS = flags.DEFINE_integer("rounds", 9, "How often each row is timed.", 1)
_DRAWN = "await new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)));"
_WATCH = f"addEventListener('load', async () => {{ {_DRAWN} window.drawnAt = performance.now(); }})"
_KEY = """document.activeElement.dispatchEvent(
    new KeyboardEvent('keydown', {key: '%s', bubbles: true}));"""
_SLIDER = """const range = document.getElementById('range-LUT'); range.value = %d;
range.dispatchEvent(new Event('input'));"""

Times = tuple[float, float]  # milliseconds of the main thread, and until drawn


def main(argv: Sequence[str]) -> None:
    """Prints a row for each."""
    del argv
    with tempfile.TemporaryDirectory() as directory, browser.started() as session:
        path = Path(directory) / "many.html"
        path.write_text(sweeps.many())
        loads: list[Times] = []
        for _ in range(_ROUNDS.value):
            tab = session.page()
            tab.size(1600, 1000)
            tab.call("Performance.enable", timeDomain="threadTicks")
            tab.call("Page.addScriptToEvaluateOnNewDocument", source=_WATCH)
            start = _busy(tab)
            tab.go(f"{path.as_uri()}#x=LUT&all=1")
            while (wall := tab.run("window.drawnAt")) is None:
                tab.settle()
            loads.append((1e3 * (_busy(tab) - start), wall))
        tab.run("document.querySelector('#points [tabindex]').focus()")
        keys = [_KEY % ("ArrowRight", "ArrowUp")[i % 2] for i in range(_ROUNDS.value)]
        sliders = [_SLIDER % (180 - i) for i in range(_ROUNDS.value)]
        print(f"{path.stat().st_size / 1e6:.2f} MB")
        for name, times in (
            ("load and draw", loads),
            ("a key", [_timed(tab, script) for script in keys]),
            ("a step of a slider", [_timed(tab, script) for script in sliders]),
        ):
            busy, wall = map(statistics.median, zip(*times, strict=True))
            print(f"{name:20}{busy:7.0f} ms of the main thread{wall:7.0f} ms until drawn")


def _busy(tab: browser.Page) -> float:
    """Seconds that the main thread has worked."""
    metrics = tab.call("Performance.getMetrics")["metrics"]
    return next(m["value"] for m in metrics if m["name"] == "TaskDuration")


def _timed(tab: browser.Page, script: str) -> Times:
    start, clock = _busy(tab), "performance.now()"
    wall = tab.run(
        f"(async () => {{ const t = {clock}; {script} {_DRAWN} return {clock} - t; }})()"
    )
    return 1e3 * (_busy(tab) - start), wall


if __name__ == "__main__":
    app.run(main)
