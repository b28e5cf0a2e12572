"""The AXI wrapper, simulated: registers, two images, tlast, and stalls."""

import subprocess

import numpy as np

from flightnn_jax import rtl
from flightnn_jax.rtl import generate
from tests.rtl import machines
from tests.rtl.layers import needs
from tests.support.networks_at_random import random_network

BENCH = """
module bench;
  reg clk = 0, resetn = 0, arvalid = 0, in_valid = 0, out_ready = 0, wvalid = 0;
  reg [4:0] araddr = 0;
  reg [23:0] images[0:127];
  wire in_ready, out_valid, last, arready, rvalid, awready, wready, bvalid;
  wire [31:0] data, rdata;
  wire [1:0] bresp, rresp;
  integer sent = 0, taken = 0, i;
  fl_axi #(.VALUES(3), .LOGITS(5), .IMAGE_BEATS(64), .DIGEST(64'h0123456789abcdef)) dut (
      .aclk(clk), .aresetn(resetn), .s_axis_tdata(images[sent]), .s_axis_tvalid(in_valid),
      .s_axis_tready(in_ready), .m_axis_tdata(data), .m_axis_tvalid(out_valid),
      .m_axis_tready(out_ready), .m_axis_tlast(last), .s_axi_awaddr(5'd0),
      .s_axi_awvalid(wvalid), .s_axi_awready(awready), .s_axi_wdata(32'd0), .s_axi_wstrb(4'hf),
      .s_axi_wvalid(wvalid), .s_axi_wready(wready), .s_axi_bresp(bresp), .s_axi_bvalid(bvalid),
      .s_axi_bready(1'b1), .s_axi_araddr(araddr), .s_axi_arvalid(arvalid),
      .s_axi_arready(arready), .s_axi_rdata(rdata), .s_axi_rresp(rresp), .s_axi_rvalid(rvalid),
      .s_axi_rready(1'b1));
  always #5 clk = !clk;
  always @(posedge clk) if (resetn) begin
    if (in_valid && in_ready) sent <= sent + 1;
    if (out_valid && out_ready) begin
      $display("logit %0d %0d", $signed(data), last);
      taken <= taken + 1;
    end
    if (rvalid) $display("register %h", rdata);
    if (bvalid) $display("written %0d", bresp);
  end
  always @(negedge clk) begin
    in_valid = resetn && sent < 128;
    out_ready = ($random % 3) == 0;
  end
  task read(input [4:0] address);
    begin
      @(negedge clk) araddr = address;
      arvalid = 1;
      @(negedge clk) arvalid = 0;
      @(negedge clk);
    end
  endtask
  initial begin
    $readmemh("images.hex", images);
    repeat (3) @(negedge clk);
    resetn = 1;
    @(negedge clk) wvalid = 1;
    @(negedge clk) wvalid = 0;
    for (i = 0; i < 32; i = i + 4) read(i[4:0]);
    wait (taken == 10);
    read(5'd24);
    $finish;
  end
endmodule
"""


@needs("iverilog")
def test_streams_and_registers(tmp_path):
    network = random_network(9, "vgg", "shift1", width=2)
    machine = rtl.machine_of(network, machines.folds(network))
    rtl.write(network, machine, tmp_path, {"digest": "0123456789abcdef" * 4})
    given = machines.images(network, 2)
    beats = generate.image_beats(machine.image, given)
    lines = ["".join(f"{byte:02x}" for byte in beat[::-1]) for beat in beats]
    (tmp_path / "images.hex").write_text("\n".join(lines))
    (tmp_path / "axi_bench.v").write_text(BENCH)
    sources = ["axi_bench.v", "top.v", *map(str, sorted((tmp_path / "modules").glob("fl_*.v")))]
    words = ["iverilog", "-g2001", "-Wall", "-s", "bench", "-o", "axi.vvp", *sources]
    built = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    ran = subprocess.run(["vvp", "-N", "axi.vvp"], cwd=tmp_path, capture_output=True, text=True)
    printed = [line.split() for line in ran.stdout.splitlines()]
    registers = [words[1] for words in printed if words[0] == "register"]
    constant = ["464c4e4e", "00000001", "01234567", "89abcdef", "00000040", "00000005"]
    assert registers == [*constant, "00000000", "00000000", "00000002"]
    assert ["written", "0"] in printed
    logits = np.array([words[1:] for words in printed if words[0] == "logit"], int)
    right = machines.expected(network, given, tmp_path)[network.layers[-1].name]
    np.testing.assert_array_equal(logits[:, 0].reshape(2, 5), right)
    np.testing.assert_array_equal(logits[:, 1].reshape(2, 5), [[0, 0, 0, 0, 1]] * 2)
    about = generate.info(network, machine)["axi"]
    assert about == {"VALUES": 3, "LOGITS": 5, "IMAGE_BEATS": 64}


@needs("verilator")
def test_verilator_has_nothing_to_say(tmp_path):
    network = random_network(9, "vgg", "shift1", width=2)
    rtl.write(network, rtl.machine_of(network), tmp_path)
    sources = ["top.v", *map(str, sorted((tmp_path / "modules").glob("fl_*.v")))]
    words = ["verilator", "--lint-only", "-Wall", "--top-module", "fl_axi", "-GLOGITS=5", *sources]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
