// A convolution, or a dense layer as one of a single pixel: LANES filters at a time, VALUES inputs
// and TERMS terms of each a cycle. Words come in, sums go out, both in raster order with the channel
// running fastest.
//
//   VALUES, WORDS, HEIGHT, WIDTH, SIZE, STRIDE, OUT_HEIGHT, OUT_WIDTH, ROWS, TURNS, EMPTY, STEPS,
//   ROWS_BLOCK   as in fl_rows
//   LANES        filters of a pass
//   TERMS, INTEGER, DSP, CODE, LOOKUP, KEPT, TABLE, PARTS    as in fl_lane
//   SIGNS        1 where activations are -1, 0 or 1 and codes signs: two bits of each are kept, and
//                fl_signs counts them
//   LEVELS       as in fl_lane or fl_signs
//   SUM          bits of a sum
//   PASSES, OUT, BEATS, REST     as in fl_results; OUT values of a beat
//   CODES        file of the weights: STEPS words of LANES * VALUES * TERMS codes
//   TURN_FILE    TURNS words: last of its pass, first of it, a mask of terms for each lane
//   CODES_BLOCK  1 for block RAM
//
// A pass takes the steps of its turns, or as many cycles as it has beats if these are more. The
// whole pipeline waits while a pass is complete and the one before it has not left.
module fl_conv #(
    parameter VALUES = 1,
    parameter WORDS = 1,
    parameter HEIGHT = 4,
    parameter WIDTH = 4,
    parameter SIZE = 3,
    parameter STRIDE = 1,
    parameter OUT_HEIGHT = 4,
    parameter OUT_WIDTH = 4,
    parameter ROWS = 4,
    parameter TURNS = 1,
    parameter [TURNS-1:0] EMPTY = 0,
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
    parameter SIGNS = 0,
    parameter LEVELS = 0,
    parameter SUM = 24,
    parameter PASSES = 1,
    parameter OUT = 1,
    parameter BEATS = 1,
    parameter REST = 1,
    parameter CODES = "none.hex",
    parameter TURN_FILE = "none.hex",
    parameter CODES_BLOCK = 0
) (
    input  wire                clk,
    input  wire                rst,
    input  wire                in_valid,
    output wire                in_ready,
    input  wire [VALUES*8-1:0] in_data,
    output wire                out_valid,
    input  wire                out_ready,
    output wire [ OUT*SUM-1:0] out_data
);
  localparam AW = STEPS > 1 ? $clog2(STEPS) : 1;
  localparam TW = TURNS > 1 ? $clog2(TURNS) : 1;
  localparam CODE_BITS = VALUES * TERMS * CODE;  // of a lane
  localparam BITS = SIGNS != 0 ? 2 : KEPT;  // of an activation
  localparam DELAY = 1 + (LEVELS + 1) / 2;  // from activations to the last adder

  wire [AW-1:0] address;
  wire [TW-1:0] turn;
  wire valid, begins, ends;
  wire [VALUES*BITS-1:0] arrived, x;
  wire [LANES*CODE_BITS-1:0] codes;
  wire [LANES*TERMS+1:0] about;
  wire [LANES*SUM-1:0] sums;
  wire results_ready, results_valid, results_taken;
  wire [OUT*SUM-1:0] results_data;
  reg complete;
  wire enable = !complete || results_ready;

  fl_rows #(
      .VALUES(VALUES),
      .BITS(BITS),
      .WORDS(WORDS),
      .HEIGHT(HEIGHT),
      .WIDTH(WIDTH),
      .SIZE(SIZE),
      .STRIDE(STRIDE),
      .OUT_HEIGHT(OUT_HEIGHT),
      .OUT_WIDTH(OUT_WIDTH),
      .ROWS(ROWS),
      .TURNS(TURNS),
      .EMPTY(EMPTY),
      .STEPS(STEPS),
      .BLOCK(ROWS_BLOCK)
  ) rows (
      .clk(clk),
      .rst(rst),
      .in_valid(in_valid),
      .in_ready(in_ready),
      .in_data(arrived),
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

  genvar i;
  generate
    for (i = 0; i < VALUES; i = i + 1) begin : value
      assign arrived[i*BITS+:BITS] = in_data[i*8+:BITS];
    end

    if (SIGNS != 0) begin : signs
      localparam COUNT = 4 + LEVELS;
      wire [VALUES-1:0] present;
      wire [COUNT-2:0] most;
      wire one;
      wire [COUNT-1:0] count = {1'b0, most} + {{(COUNT - 1) {1'b0}}, one};
      wire unused = &{1'b0, in_data, about};
      for (i = 0; i < VALUES; i = i + 1) begin : value
        assign present[i] = x[2*i];
      end
      fl_popcount #(
          .N(VALUES),
          .LEVELS(LEVELS)
      ) counter (
          .clk(clk),
          .enable(enable),
          .bits(present),
          .sum(most),
          .rest(one)
      );
      for (i = 0; i < LANES; i = i + 1) begin : lane
        fl_signs #(
            .VALUES(VALUES),
            .WIDTH(SUM),
            .LEVELS(LEVELS)
        ) unit (
            .clk(clk),
            .enable(enable),
            .first(firsts[DELAY]),
            .x(x),
            .negative(codes[i*CODE_BITS+:CODE_BITS]),
            .count(count),
            .sum(sums[i*SUM+:SUM])
        );
      end
    end else begin : numbers
      wire unused = &{1'b0, in_data};  // where fewer bits are kept
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
            .x(x),
            .codes(codes[i*CODE_BITS+:CODE_BITS]),
            .mask(about[i*TERMS+:TERMS]),
            .sum(sums[i*SUM+:SUM])
        );
      end
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
