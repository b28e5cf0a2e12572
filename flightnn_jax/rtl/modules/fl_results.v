// The sums of a pass, taken all at once and handed on a beat a cycle.
//
//   LANES   sums of a pass
//   WIDTH   bits of a sum
//   VALUES  sums of a beat, a divisor of LANES
//   BEATS   of a pass
//   REST    of a pixel's last pass, which may have fewer filters
//   PASSES  of a pixel
//
// `ready` says that a pass may come in: nothing is left, or the last beat leaves in this cycle.
//
// Proven by Yosys's sat (proofs/results.v): that all beats of each pass leave, in order, and
// `ready`.
module fl_results #(
    parameter LANES = 1,
    parameter WIDTH = 24,
    parameter VALUES = 1,
    parameter BEATS = 1,
    parameter REST = 1,
    parameter PASSES = 1
) (
    input  wire                    clk,
    input  wire                    rst,
    input  wire                    valid,
    output wire                    ready,
    input  wire [ LANES*WIDTH-1:0] sums,
    output wire                    out_valid,
    input  wire                    out_ready,
    output wire [VALUES*WIDTH-1:0] out_data
);
  localparam BW = $clog2(BEATS + 1);
  localparam PW = PASSES > 1 ? $clog2(PASSES) : 1;
  localparam [BW-1:0] ALL = BEATS[BW-1:0];
  localparam [BW-1:0] SOME = REST[BW-1:0];
  localparam [PW-1:0] LAST = PASSES[PW-1:0] - 1'b1;

  reg [LANES*WIDTH-1:0] held;
  reg [BW-1:0] left;
  reg [PW-1:0] pass;
  wire none = left == {BW{1'b0}};
  wire one = left == {{(BW - 1) {1'b0}}, 1'b1};

  assign ready = none || (one && out_ready);
  assign out_valid = !none;
  assign out_data = held[VALUES*WIDTH-1:0];

  always @(posedge clk) begin
    if (valid && ready) begin
      held <= sums;
      left <= pass == LAST ? SOME : ALL;
      pass <= pass == LAST ? {PW{1'b0}} : pass + 1'b1;
    end else if (!none && out_ready) begin
      held <= held >> (VALUES * WIDTH);
      left <= left - 1'b1;
    end
    if (rst) begin
      left <= {BW{1'b0}};
      pass <= {PW{1'b0}};
    end
  end
endmodule
