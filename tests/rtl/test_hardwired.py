"""Hard-wired layers in Icarus Verilog, Verilator and Yosys."""

import json
import re
import subprocess

import numpy as np
import pytest

from flightnn_jax.rtl import graph as graphs
from flightnn_jax.rtl import hardwired, wiring
from tests.rtl.layers import KINDS, any_of, needs, weights_of

BITS = 24
TAPS, FILTERS, CYCLES = 18, 5, 60


def layer(kind, seed=0, shape=(TAPS, FILTERS)):
    inputs = any_of(shape[0], seed)
    return wiring.build(weights_of(kind, shape, seed), inputs), inputs


BENCH = """
module bench;
    reg clk = 0, en = 0;
    reg [{x}:0] x, images [0:{last}];
    reg enables [0:{last}];
    {wires}
    {modules}
    integer i;
    initial begin
        $readmemh("x.hex", images);
        $readmemb("en.bin", enables);
        for (i = 0; i <= {last}; i = i + 1) begin
            x = images[i]; en = enables[i];
            #1 $display("{format}", {outputs});
            clk = 1; #1 clk = 0; #1;
        end
    end
endmodule
"""


def simulated(directory, modules, x, enable):
    """{name: [cycles, filters]} what modules give right before each edge."""
    (directory / "en.bin").write_text("\n".join(map(str, enable)))
    rows = (x.astype(np.uint8)[:, ::-1]).tolist()
    (directory / "x.hex").write_text("\n".join(bytes(row).hex() for row in rows))
    names = list(modules)
    bench = BENCH.format(
        x=8 * x.shape[1] - 1,
        last=len(x) - 1,
        wires="\n".join(f"wire [{BITS * FILTERS - 1}:0] y_{name};" for name in names),
        modules="\n".join(f"{name} d_{name} (clk, en, x, y_{name});" for name in names),
        format=" ".join(["%b"] * len(names)),
        outputs=", ".join(f"y_{name}" for name in names),
    )
    (directory / "all.v").write_text("\n".join([bench, *modules.values()]))
    command = ["iverilog", "-g2001", "-Wall", "-s", "bench", "-o", "run", "all.v"]
    built = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True)
    assert not [line for line in built.stderr.splitlines() if "timescale" not in line]
    run = subprocess.run(
        ["vvp", "-n", "run"], cwd=directory, capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in run.stdout.splitlines()]
    return {name: [words(line[i]) for line in lines] for i, name in enumerate(names)}


def words(text):
    """The filters' sums; None before registers have anything."""
    if "x" in text:
        return None
    raw = [int(text[start : start + BITS], 2) for start in range(0, len(text), BITS)][::-1]
    return [value - (value >> (BITS - 1) << BITS) for value in raw]


@needs("iverilog")
def test_icarus_gives_the_sums_of_the_window_before_and_waits_where_it_must(tmp_path):
    rng = np.random.default_rng(0)
    enable = np.where(np.arange(CYCLES) < 8, 1, rng.random(CYCLES) < 0.6).astype(int)
    for kind in KINDS:
        graph, inputs = layer(kind)
        x = rng.integers(inputs.low, inputs.high + 1, (CYCLES, TAPS))
        modules = {
            f"every{every}": hardwired.verilog(graph, f"every{every}", every, BITS)
            for every in (0, 1, 2, 3)
        }
        given = simulated(tmp_path, modules, x, enable)
        expected = x @ weights_of(kind, (TAPS, FILTERS), 0)
        for every in (0, 1, 2, 3):
            latency = graphs.schedule(graph, every).latency
            taken = [i for i in range(CYCLES) if enable[i]]
            for cycle in range(CYCLES):
                before = [i for i in taken if i < cycle]
                if latency == 0:
                    assert given["every0"][cycle] == expected[cycle].tolist()
                elif len(before) >= latency:
                    window = expected[before[-latency]].tolist()
                    assert given[f"every{every}"][cycle] == window


@needs("verilator")
@pytest.mark.parametrize("every", [0, 1])
def test_verilator_has_nothing_to_say(tmp_path, every):
    graph, _ = layer("shift2")
    (tmp_path / "wired.v").write_text(hardwired.verilog(graph, "wired", every))
    command = ["verilator", "--lint-only", "-Wall", "wired.v"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_sums_have_the_bits_that_were_asked_for():
    graph, _ = layer("shift1")
    bits = hardwired.sum_bits(graph)
    assert f"[{FILTERS * bits - 1}:0] y" in hardwired.verilog(graph, "wired")
    with pytest.raises(ValueError, match=f"wired: sums of 3 bits: they need {bits}"):
        hardwired.verilog(graph, "wired", output_bits=3)


@pytest.mark.whole(1)
@pytest.mark.slow  # Yosys maps two layers
@needs("yosys")
@pytest.mark.parametrize(("kind", "every"), [("shift2", 1), ("integer", 2)])
def test_yosys_takes_what_the_graph_says(tmp_path, kind, every):
    graph, _ = layer(kind, seed=2)
    (tmp_path / "wired.v").write_text(hardwired.verilog(graph, "wired", every))
    script = "read_verilog wired.v; synth_xilinx -top wired -noiopad; tee -o stat.json stat -json"
    subprocess.run(["yosys", "-q", "-p", script], cwd=tmp_path, check=True)
    text = (tmp_path / "stat.json").read_text()
    cells = json.loads(text[text.index("{") :])["modules"]["\\wired"]["num_cells_by_type"]
    count = {"lut": 0, "ff": 0, "srl": 0}
    for name, number in cells.items():
        kinds = {"lut": r"LUT\d|INV", "ff": "FD.*", "srl": "SRL.*"}
        for part, pattern in kinds.items():
            count[part] += number if re.fullmatch(pattern, name) else 0
    cost = graphs.cost(graph, every)
    assert (count["ff"], count["srl"]) == (cost.ff, cost.srl)
    assert abs(count["lut"] / cost.lut - 1) < 0.02
