// A convolution in groups, or with other rows and columns outside of the map than half of a window:
// as fl_conv, but a pass reads a group's part of every pixel, or, with OWN, each lane the channel of
// its own filter.
//
//   VALUES   activations of a lane: of a word, or with OWN one
//   WORDS, PART, HEIGHT, WIDTH, SIZE, STRIDE, PADDING, OUT_HEIGHT, OUT_WIDTH, ROWS, TURNS, EMPTY,
//   NEXT, STEPS, ROWS_BLOCK   as in fl_group_rows
//   OWN      1 where a word has VALUES activations for each lane, 0 where all lanes read the same
//   LANES    filters of a pass
//   TERMS, INTEGER, DSP, CODE, LOOKUP, KEPT, TABLE, PARTS, LEVELS  as in fl_lane
//   SUM          bits of a sum
//   PASSES, OUT, BEATS, REST     as in fl_results; OUT values of a beat
//   CODES, TURN_FILE, CODES_BLOCK  as in fl_conv
//
// A pass takes the steps of its turns, or as many cycles as it has beats if these are more. The
// whole pipeline waits while a pass is complete and the one before it has not left.
module fl_group_conv #(
    parameter VALUES = 1,
    parameter WORDS = 1,
    parameter PART = 1,
    parameter OWN = 0,
    parameter HEIGHT = 4,
    parameter WIDTH = 4,
    parameter SIZE = 3,
    parameter STRIDE = 1,
    parameter PADDING = 1,
    parameter OUT_HEIGHT = 4,
    parameter OUT_WIDTH = 4,
    parameter ROWS = 4,
    parameter TURNS = 1,
    parameter [TURNS-1:0] EMPTY = 0,
    parameter [TURNS-1:0] NEXT = 0,
    parameter STEPS = 9,
    parameter ROWS_BLOCK = 0,
    parameter LANES = 1,
    parameter TERMS = 1,
    parameter INTEGER = 0,
    parameter DSP = 0,
    parameter CODE = 4,
    parameter LOOKUP = 0,
    parameter KEPT = 8,
    parameter [(8<<CODE)-1:0] TABLE = 0,
    parameter PARTS = 1,
    parameter LEVELS = 0,
    parameter SUM = 24,
    parameter PASSES = 1,
    parameter OUT = 1,
    parameter BEATS = 1,
    parameter REST = 1,
    parameter CODES = "none.hex",
    parameter TURN_FILE = "none.hex",
    parameter CODES_BLOCK = 0,
    parameter READ = OWN != 0 ? LANES * VALUES : VALUES  // activations of a word
) (
    input  wire                clk,
    input  wire                rst,
    input  wire                in_valid,
    output wire                in_ready,
    input  wire [  READ*8-1:0] in_data,
    output wire                out_valid,
    input  wire                out_ready,
    output wire [ OUT*SUM-1:0] out_data
);
  localparam AW = STEPS > 1 ? $clog2(STEPS) : 1;
  localparam TW = TURNS > 1 ? $clog2(TURNS) : 1;
  localparam CODE_BITS = VALUES * TERMS * CODE;  // of a lane
  localparam DELAY = 1 + (LEVELS + 1) / 2;  // from activations to the last adder

  wire [AW-1:0] address;
  wire [TW-1:0] turn;
  wire valid, begins, ends;
  wire [READ*8-1:0] x;
  wire [LANES*CODE_BITS-1:0] codes;
  wire [LANES*TERMS+1:0] about;
  wire [LANES*SUM-1:0] sums;
  wire results_ready, results_valid, results_taken;
  wire [OUT*SUM-1:0] results_data;
  reg complete;
  wire enable = !complete || results_ready;

  fl_group_rows #(
      .VALUES(READ),
      .WORDS(WORDS),
      .PART(PART),
      .HEIGHT(HEIGHT),
      .WIDTH(WIDTH),
      .SIZE(SIZE),
      .STRIDE(STRIDE),
      .PADDING(PADDING),
      .OUT_HEIGHT(OUT_HEIGHT),
      .OUT_WIDTH(OUT_WIDTH),
      .ROWS(ROWS),
      .TURNS(TURNS),
      .EMPTY(EMPTY),
      .NEXT(NEXT),
      .STEPS(STEPS),
      .BLOCK(ROWS_BLOCK)
  ) rows (
      .clk(clk),
      .rst(rst),
      .in_valid(in_valid),
      .in_ready(in_ready),
      .in_data(in_data),
      .enable(enable),
      .address(address),
      .turn(turn),
      .valid(valid),
      .begins(begins),
      .ends(ends),
      .x(x)
  );

  fl_rom #(
      .WIDTH(LANES * CODE_BITS),
      .DEPTH(STEPS),
      .BLOCK(CODES_BLOCK),
      .FILE(CODES)
  ) weights (
      .clk(clk),
      .read(enable),
      .address(address),
      .data(codes)
  );

  fl_rom #(
      .WIDTH(LANES * TERMS + 2),
      .DEPTH(TURNS),
      .FILE(TURN_FILE)
  ) turns (
      .clk(clk),
      .read(enable),
      .address(turn),
      .data(about)
  );

  // What goes with a step until it is added up.
  reg [DELAY-1:0] first, last;
  wire first_now = begins && about[LANES*TERMS];
  wire last_now = valid && ends && about[LANES*TERMS+1];
  wire [DELAY:0] firsts = {first, first_now};
  wire [DELAY:0] lasts = {last, last_now};

  always @(posedge clk) begin
    if (enable) first <= firsts[DELAY-1:0];
    if (rst) last <= {DELAY{1'b0}};
    else if (enable) last <= lasts[DELAY-1:0];
    if (rst) complete <= 1'b0;
    else if (enable) complete <= lasts[DELAY];
  end

  wire [READ*KEPT-1:0] kept;
  wire unused = &{1'b0, x};  // where fewer bits are kept
  genvar i;
  generate
    for (i = 0; i < READ; i = i + 1) begin : value
      assign kept[i*KEPT+:KEPT] = x[i*8+:KEPT];
    end
    for (i = 0; i < LANES; i = i + 1) begin : lane
      fl_lane #(
          .VALUES(VALUES),
          .TERMS(TERMS),
          .INTEGER(INTEGER),
          .DSP(DSP),
          .CODE(CODE),
          .LOOKUP(LOOKUP),
          .KEPT(KEPT),
          .TABLE(TABLE),
          .PARTS(PARTS),
          .WIDTH(SUM),
          .LEVELS(LEVELS)
      ) unit (
          .clk(clk),
          .enable(enable),
          .first(firsts[DELAY]),
          .x(kept[(OWN!=0?i:0)*VALUES*KEPT+:VALUES*KEPT]),
          .codes(codes[i*CODE_BITS+:CODE_BITS]),
          .mask(about[i*TERMS+:TERMS]),
          .sum(sums[i*SUM+:SUM])
      );
    end
  endgenerate

  fl_results #(
      .LANES(LANES),
      .WIDTH(SUM),
      .VALUES(OUT),
      .BEATS(BEATS),
      .REST(REST),
      .PASSES(PASSES)
  ) results (
      .clk(clk),
      .rst(rst),
      .valid(complete),
      .ready(results_ready),
      .sums(sums),
      .out_valid(results_valid),
      .out_ready(results_taken),
      .out_data(results_data)
  );

  fl_buffer #(
      .WIDTH(OUT * SUM)
  ) buffer (
      .clk(clk),
      .rst(rst),
      .in_valid(results_valid),
      .in_ready(results_taken),
      .in_data(results_data),
      .out_valid(out_valid),
      .out_ready(out_ready),
      .out_data(out_data)
  );
endmodule
