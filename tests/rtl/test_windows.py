"""The windows of hard-wired layers, in Icarus Verilog."""

import subprocess
from pathlib import Path

import numpy as np
from numpy.testing import assert_array_equal

import flightnn_jax.rtl
from tests.rtl.layers import needs

MODULES = Path(flightnn_jax.rtl.__file__).parent / "modules"
IMAGES = 3
# height, width, size, stride
SHAPES = [(4, 5, 3, 1), (5, 4, 3, 2), (3, 1, 3, 1), (1, 6, 5, 1), (2, 2, 5, 1), (7, 6, 5, 3)]
SHAPES += [(6, 7, 1, 1), (6, 5, 1, 2), (1, 1, 1, 1), (2, 3, 7, 1), (1, 1, 3, 2)]

BENCH = """
module drive #(
    parameter HEIGHT = 1, parameter WIDTH = 1, parameter SIZE = 1, parameter STRIDE = 1,
    parameter NUMBER = 0, parameter BLOCK = 0
) (input clk, input rst, input steady);
    localparam TOTAL = {images} * HEIGHT * WIDTH;
    reg [15:0] pixels [0:TOTAL-1];
    reg [8*12-1:0] name;
    integer next = 0, gap = 0;
    reg offered = 0, enable = 0;
    wire ready, valid;
    wire [SIZE*SIZE*16-1:0] x;
    fl_windows #(.BITS(16), .HEIGHT(HEIGHT), .WIDTH(WIDTH), .SIZE(SIZE), .STRIDE(STRIDE),
                 .BLOCK(BLOCK)) unit (
        .clk(clk), .rst(rst), .in_valid(offered), .in_ready(ready),
        .in_data(pixels[next < TOTAL ? next : 0]), .enable(enable), .valid(valid), .x(x));
    initial begin
        $sformat(name, "pixels%0d", NUMBER);
        $readmemh(name, pixels);
    end
    always @(posedge clk) if (!rst) begin
        if (offered && ready) next = next + 1;
        if (enable && valid) $display("%0d %h", NUMBER, x);
    end
    always @(negedge clk) begin
        gap = gap > 0 ? gap - 1 : $random % 40 == 0 ? 3 * WIDTH : 0;
        offered = next < TOTAL && (steady || ($random % 3 != 0 && gap == 0));
        enable = steady || $random % 4 != 0;
    end
endmodule
module bench;
    reg clk = 0, rst = 1;
    always #1 clk = !clk;
    initial begin
        #6 rst = 0;
        #{time} $finish;
    end
    {units}
endmodule
"""


@needs("iverilog")
def test_windows_come_out_whole_whatever_waits(tmp_path):
    rng = np.random.default_rng(0)
    units, expected = [], []
    for number, (height, width, size, stride) in enumerate([*SHAPES, *SHAPES]):
        pixels = rng.integers(0, 1 << 16, (IMAGES, height, width))
        lines = (f"{pixel:04x}" for pixel in pixels.ravel())
        (tmp_path / f"pixels{number}").write_text("\n".join(lines))
        values = (height, width, size, stride, number, number % 2, int(number < len(SHAPES)))
        units.append(
            "drive #({}, {}, {}, {}, {}, {}) u{n} (clk, rst, 1'b{});".format(*values, n=number)
        )
        expected.append(windows(pixels, size, stride))
    bench = BENCH.format(images=IMAGES, time=3000, units="\n".join(units))
    (tmp_path / "bench.v").write_text(bench)
    sources = [MODULES / "fl_windows.v", MODULES / "fl_ram.v"]
    command = ["iverilog", "-g2001", "-s", "bench", "-o", "run", "bench.v", *map(str, sources)]
    subprocess.run(command, cwd=tmp_path, check=True)
    run = subprocess.run(
        ["vvp", "-n", "run"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in run.stdout.splitlines() if line[:1].isdigit()]
    for number, windows_of_it in enumerate(expected):
        given = [bytes.fromhex(text) for n, text in lines if int(n) == number]
        assert_array_equal([np.frombuffer(text, ">u2")[::-1] for text in given], windows_of_it)


def windows(pixels, size, stride):
    """[windows, size * size] with zeros around each image."""
    pad = (size - 1) // 2
    padded = np.pad(pixels, ((0, 0), (pad, pad), (pad, pad)))
    _, height, width = pixels.shape
    return [
        image[y : y + size, x : x + size].ravel()
        for image in padded
        for y in range(0, height, stride)
        for x in range(0, width, stride)
    ]
