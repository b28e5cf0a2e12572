// Words of IN values to beats of OUT values, of which IN is a multiple; what stands behind the last
// channel of a pixel is left out.
//
//   WIDTH     bits of a value
//   IN        values of a word
//   OUT       values of a beat
//   CHANNELS  of a pixel
//
// The first beat leaves a cycle or more after the word came in, and the next word may come in in the
// cycle in which the last beat leaves.
//
// Proven by Yosys's sat (proofs/narrow.v): that of each word the beats with channels leave, in
// order, and when a word comes in.
module fl_narrow #(
    parameter WIDTH = 8,
    parameter IN = 2,
    parameter OUT = 1,
    parameter CHANNELS = 2
) (
    input  wire                 clk,
    input  wire                 rst,
    input  wire                 in_valid,
    output wire                 in_ready,
    input  wire [ IN*WIDTH-1:0] in_data,
    output wire                 out_valid,
    input  wire                 out_ready,
    output wire [OUT*WIDTH-1:0] out_data
);
  localparam PARTS = IN / OUT;
  localparam WORDS = (CHANNELS + IN - 1) / IN;
  localparam REST = (CHANNELS - (WORDS - 1) * IN + OUT - 1) / OUT;  // beats of a pixel's last word
  localparam RW = PARTS == 2 ? 2 : $clog2(PARTS - 1) + 1;
  localparam WW = WORDS > 1 ? $clog2(WORDS) : 1;
  localparam [31:0] NO_BEATS = -2;
  localparam [31:0] ALL_BEATS = PARTS - 2;
  localparam [31:0] REST_BEATS = REST - 2;
  localparam [RW-1:0] NOTHING = NO_BEATS[RW-1:0];
  localparam [RW-1:0] ALL = ALL_BEATS[RW-1:0];
  localparam [RW-1:0] SOME = REST_BEATS[RW-1:0];
  localparam [WW-1:0] LAST_WORD = WORDS[WW-1:0] - 1'b1;

  reg [IN*WIDTH-1:0] word;
  reg [RW-1:0] left;  // beats that have not left, less two: its sign says what a register takes
  reg [WW-1:0] number;  // of the next word in its pixel
  wire [IN*WIDTH-1:0] next;
  wire pop = out_valid && out_ready;
  wire take = in_valid && in_ready;
  wire few = left[RW-1];  // one at most

  assign out_valid = !few || left[0];
  assign in_ready  = few && (!left[0] || out_ready);
  assign {next, out_data} = {in_data[IN*WIDTH-1-:OUT*WIDTH], word};

  always @(posedge clk) begin
    if (take || pop) word <= few ? in_data : next;
    if (take) begin
      left   <= number == LAST_WORD ? SOME : ALL;
      number <= number == LAST_WORD ? {WW{1'b0}} : number + 1'b1;
    end else if (pop) begin
      left <= left - 1'b1;
    end
    if (rst) begin
      left   <= NOTHING;
      number <= {WW{1'b0}};
    end
  end
endmodule
