// One filter at a time: the sum of products of a sweep's words with codes, accumulated over steps.
//
//   VALUES   activations of a word
//   TERMS    codes for each activation
//   INTEGER  0 for terms, 1 for 4-bit integers
//   CODE     bits of a code: 4, or 1 where a term is no more than a sign and no code is masked
//   DSP      1 for integers by multipliers
//   LOOKUP   1 where codes number levels, of which there is one for each activation, and no code is
//            masked; 2 where besides no activation is negative
//   KEPT     bits of an activation, 8 without LOOKUP
//   TABLE    of levels, as in fl_lookup
//   PARTS    tables for each activation, of as many of its bits each, the last one of the rest
//   WIDTH    bits of a sum
//   LEVELS   of the tree: ceil(log2(VALUES * TERMS * PARTS))
//
// `sum` has what came in 2 + ceil(LEVELS / 2) enabled cycles before; `first` is as much late less
// one, for it decides what the sum is added to. Sums are right modulo 2^WIDTH.
//
// Proven by Yosys's sat (proofs/lane.v): the sum, for up to two products, or one that is
// looked up in one table or two.
module fl_lane #(
    parameter VALUES = 1,
    parameter TERMS = 1,
    parameter INTEGER = 0,
    parameter DSP = 0,
    parameter CODE = 4,
    parameter LOOKUP = 0,
    parameter KEPT = 8,
    parameter [(8<<CODE)-1:0] TABLE = 0,
    parameter PARTS = 1,
    parameter WIDTH = 24,
    parameter LEVELS = 0
) (
    input  wire                         clk,
    input  wire                         enable,
    input  wire                         first,
    input  wire [      VALUES*KEPT-1:0] x,
    input  wire [VALUES*TERMS*CODE-1:0] codes,
    input  wire [            TERMS-1:0] mask,
    output wire [            WIDTH-1:0] sum
);
  localparam N = VALUES * TERMS * PARTS;
  localparam BITS = LOOKUP != 0 ? KEPT + 8 : CODE == 1 ? 8 : INTEGER != 0 ? 12 : 15;
  localparam PART = (KEPT + PARTS - 1) / PARTS;  // bits that a table reads
  localparam TREE = BITS + LEVELS;
  localparam WIDE = WIDTH > TREE ? WIDTH : TREE;

  reg [N*BITS-1:0] products;
  reg [N-1:0] ones;
  wire [N*BITS-1:0] products_now;
  wire [N-1:0] ones_now;
  wire [TREE-1:0] total;
  wire rest;
  reg [WIDTH-1:0] acc;
  genvar i, t, j;

  generate
    for (i = 0; i < VALUES; i = i + 1) begin : value
      for (t = 0; t < TERMS; t = t + 1) begin : term
        localparam J = i * TERMS + t;
        if (LOOKUP != 0) begin : level
          wire unused = mask[t];
          for (j = 0; j < PARTS; j = j + 1) begin : part
            localparam LOW = PART * j;
            localparam MORE = j == PARTS - 1 ? KEPT - LOW : PART;
            localparam K = PARTS * J + j;
            wire [BITS-1:0] product;
            fl_lookup #(
                .BITS(MORE),
                .SIGNED(LOOKUP == 1 && j == PARTS - 1),
                .CODE(CODE),
                .TABLE(TABLE),
                .WIDTH(BITS)
            ) unit (
                .x(x[KEPT*i+LOW+:MORE]),
                .code(codes[CODE*J+:CODE]),
                .product(product)
            );
            assign products_now[BITS*K+:BITS] = product << LOW;
            assign ones_now[K] = 1'b0;
          end
        end else if (CODE == 1) begin : sign
          assign products_now[BITS*J+:BITS] = x[8*i+:8] ^ {8{codes[J]}};
          assign ones_now[J] = codes[J];
          wire unused = mask[t];
        end else if (INTEGER != 0) begin : integer_weight
          fl_product4 #(
              .DSP(DSP)
          ) unit (
              .x(x[8*i+:8]),
              .weight(codes[4*J+:4]),
              .mask(mask[t]),
              .product(products_now[BITS*J+:BITS])
          );
          assign ones_now[J] = 1'b0;
        end else begin : shift
          fl_product unit (
              .x(x[8*i+:8]),
              .code(codes[4*J+:4]),
              .mask(mask[t]),
              .product(products_now[BITS*J+:BITS]),
              .one(ones_now[J])
          );
        end
      end
    end
  endgenerate

  always @(posedge clk) begin
    if (enable) begin
      products <= products_now;
      ones <= ones_now;
    end
  end

  fl_tree #(
      .N(N),
      .WIDTH(BITS),
      .LEVELS(LEVELS)
  ) tree (
      .clk(clk),
      .enable(enable),
      .numbers(products),
      .ones(ones),
      .sum(total),
      .rest(rest)
  );

  wire [WIDE-1:0] wide = {{(WIDE - TREE + 1) {total[TREE-1]}}, total[TREE-2:0]};
  wire [WIDTH-1:0] earlier = first ? {WIDTH{1'b0}} : acc;

  always @(posedge clk) begin
    if (enable) acc <= earlier + wide[WIDTH-1:0] + {{(WIDTH - 1) {1'b0}}, rest};
  end

  generate
    if (WIDE > WIDTH) begin : narrower
      wire unused = &{1'b0, wide[WIDE-1:WIDTH]};
    end
  endgenerate

  assign sum = acc;
endmodule
