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
// The count is less two: its sign alone says whether a register takes its own sum or the one above,
// so that a bit is one table. What is taken as the last beat leaves, or behind it, never leaves.
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
  localparam BW = BEATS == 1 ? 1 : BEATS == 2 ? 2 : $clog2(BEATS - 1) + 1;
  localparam PW = PASSES > 1 ? $clog2(PASSES) : 1;
  localparam LESS = BW > 1 ? 2 : 0;  // of a single bit the sign is left out
  localparam [31:0] NO_BEATS = -LESS;
  localparam [31:0] ALL_BEATS = BEATS - LESS;
  localparam [31:0] REST_BEATS = REST - LESS;
  localparam [BW-1:0] NOTHING = NO_BEATS[BW-1:0];
  localparam [BW-1:0] ALL = ALL_BEATS[BW-1:0];
  localparam [BW-1:0] SOME = REST_BEATS[BW-1:0];
  localparam [PW-1:0] LAST = PASSES[PW-1:0] - 1'b1;

  reg [LANES*WIDTH-1:0] held;
  reg [BW-1:0] left;  // beats that have not left, less two
  reg [PW-1:0] pass;
  wire [LANES*WIDTH-1:0] next;
  wire take = valid && ready;
  wire few = BEATS == 1 || left[BW-1];  // one at most
  wire none = few && !left[0];
  wire one = few && left[0];

  assign ready = none || (one && out_ready);
  assign out_valid = !none;
  assign {next, out_data} = {sums[LANES*WIDTH-1-:VALUES*WIDTH], held};

  always @(posedge clk) begin
    if (take || (!none && out_ready)) held <= few ? sums : next;
    if (take) begin
      left <= pass == LAST ? SOME : ALL;
      pass <= pass == LAST ? {PW{1'b0}} : pass + 1'b1;
    end else if (!none && out_ready) begin
      left <= left - 1'b1;
    end
    if (rst) begin
      left <= NOTHING;
      pass <= {PW{1'b0}};
    end
  end
endmodule
