"""All programs compile for accelerators that are not there, where their compilers are installed.

Slow: XLA takes a minute of CPU time for a training step on a TPU.
"""

import json
import subprocess
import sys

import pytest

from benchmarks import absent, programs

TARGETS = {target.name: target for target in absent.TARGETS}


@pytest.mark.slow
@pytest.mark.parametrize("program", list(programs.PROGRAMS))
@pytest.mark.parametrize("name", ["v5e-1", "v5e-4", "h200"])
def test_compiles(name, program, tmp_path):
    if (why_not := absent.missing(TARGETS[name].platform)) is not None:
        pytest.skip(why_not)
    results = tmp_path / "results.json"
    what = ("--networks=net4", "--width=8", "--images=2", f"--program={program}")
    command = [sys.executable, "-m", "benchmarks.pods", f"--results={results}", *what]
    subprocess.run([*command, f"--targets={name}"], check=True, timeout=3000)
    (made,) = json.loads(results.read_text())
    assert made["program"] == program
    assert made["products"]
    if TARGETS[name].chips > 1 and program.startswith("step"):
        assert made["exchanges"]


def test_what_is_missing_is_told(monkeypatch):
    monkeypatch.setattr(absent.importlib.util, "find_spec", lambda _: None)
    assert "pip install 'jax[tpu]'" in absent.missing("tpu")
    assert "jax_cuda13_plugin is missing" in absent.missing("cuda")


def test_an_exchange_takes_hops_and_bandwidth():
    four, sixteen = TARGETS["v5e-4"], TARGETS["v5e-16"]
    assert TARGETS["v5e-1"].exchange_seconds(1e9) == 0
    assert four.exchange_seconds(0) == pytest.approx(4e-6)
    assert sixteen.exchange_seconds(200e9) == pytest.approx(8e-6 + 2 * 15 / 16)
