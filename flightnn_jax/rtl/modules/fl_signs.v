// One filter at a time, of weights -1 and 1 and activations -1, 0 and 1: where `count` activations
// are not 0, and p of these differ in sign from their weights, the sum is count - 2 p.
//
//   VALUES  activations of a word; of each the two lowest bits, so the lower one says that it is
//           not 0 and the upper one that it is negative
//   WIDTH   bits of a sum
//   LEVELS  as in fl_popcount
//
// `sum` has what came in 2 + ceil(LEVELS / 2) enabled cycles before. `count` comes with p, as late
// less one, and so does `first`, which decides what is added to. Sums are right modulo 2^WIDTH.
//
// Proven by Yosys's sat (proofs/signs.v): the sum, for up to nine activations.
module fl_signs #(
    parameter VALUES = 1,
    parameter WIDTH = 8,
    parameter LEVELS = 0
) (
    input  wire                clk,
    input  wire                enable,
    input  wire                first,
    input  wire [2*VALUES-1:0] x,
    input  wire [  VALUES-1:0] negative,
    input  wire [  LEVELS+3:0] count,
    output wire [   WIDTH-1:0] sum
);
  localparam TOTAL = 4 + LEVELS;  // bits
  localparam WIDE = WIDTH > TOTAL ? WIDTH : TOTAL;

  wire [VALUES-1:0] differ;
  wire [TOTAL-2:0] most;
  wire rest;
  reg [WIDTH-1:0] acc;
  genvar i;

  generate
    for (i = 0; i < VALUES; i = i + 1) begin : value
      assign differ[i] = x[2*i] && x[2*i+1] != negative[i];
    end
  endgenerate

  fl_popcount #(
      .N(VALUES),
      .LEVELS(LEVELS)
  ) counter (
      .clk(clk),
      .enable(enable),
      .bits(differ),
      .sum(most),
      .rest(rest)
  );

  // count - 2 (most + rest) = count + 2 (~most + 1 - rest)
  wire [TOTAL-2:0] upper = count[TOTAL-1:1] + ~most + {{(TOTAL - 2) {1'b0}}, !rest};
  wire [TOTAL-1:0] total = {upper, count[0]};
  wire [WIDE-1:0] wide = {{(WIDE - TOTAL + 1) {total[TOTAL-1]}}, total[TOTAL-2:0]};
  wire [WIDTH-1:0] earlier = first ? {WIDTH{1'b0}} : acc;

  always @(posedge clk) begin
    if (enable) acc <= wide[WIDTH-1:0] + earlier;
  end

  generate
    if (WIDE > WIDTH) begin : narrower
      wire unused = &{1'b0, wide[WIDE-1:WIDTH]};
    end
  endgenerate

  assign sum = acc;
endmodule
