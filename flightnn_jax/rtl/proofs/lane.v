// fl_lane: the sum becomes the products of DELAY cycles before, added to itself unless they are the
// first of their pass.
module proof #(
    parameter VALUES = 1,
    parameter TERMS = 2,
    parameter INTEGER = 0,
    parameter CODE = 4,
    parameter LOOKUP = 0,
    parameter KEPT = 8,
    parameter [(8<<CODE)-1:0] TABLE = 64'h7f_63_20_01_00_f1_9c_80,
    parameter PARTS = 1,
    parameter WIDTH = 18,
    parameter LEVELS = 1,
    parameter DELAY = 3
) (
    input  wire                         clk,
    input  wire                         first,
    input  wire [      VALUES*KEPT-1:0] x,
    input  wire [VALUES*TERMS*CODE-1:0] codes,
    input  wire [            TERMS-1:0] mask,
    output wire                         ok
);
  wire [WIDTH-1:0] sum;
  reg [WIDTH-1:0] sum_before;
  reg first_before;
  reg [WIDTH-1:0] products[0:DELAY];
  reg signed [WIDTH-1:0] value, product;
  reg signed [3:0] code;
  reg signed [7:0] level;
  integer i, t;

  always @* begin
    products[0] = 0;
    for (i = 0; i < VALUES; i = i + 1) begin
      for (t = 0; t < TERMS; t = t + 1) begin
        value = {{(WIDTH - KEPT) {LOOKUP != 2 && x[KEPT*i+KEPT-1]}}, x[KEPT*i+:KEPT]};
        code = codes[CODE*(i*TERMS+t)+:CODE];
        level = TABLE[8*codes[CODE*(i*TERMS+t)+:CODE]+:8];
        if (LOOKUP != 0) product = value * level;
        else if (CODE == 1) product = code[0] ? -value : value;
        else if (INTEGER != 0) product = value * code;
        else product = code[0] ? -(value <<< code[3:1]) : value <<< code[3:1];
        if (mask[t] || CODE == 1 || LOOKUP != 0) products[0] = products[0] + product;
      end
    end
  end
  genvar d;
  generate
    for (d = 1; d <= DELAY; d = d + 1) begin : late
      always @(posedge clk) products[d] <= products[d-1];
    end
  endgenerate
  always @(posedge clk) begin
    sum_before <= sum;
    first_before <= first;
  end

  fl_lane #(
      .VALUES(VALUES),
      .TERMS(TERMS),
      .INTEGER(INTEGER),
      .CODE(CODE),
      .LOOKUP(LOOKUP),
      .KEPT(KEPT),
      .TABLE(TABLE),
      .PARTS(PARTS),
      .WIDTH(WIDTH),
      .LEVELS(LEVELS)
  ) unit (
      .clk(clk),
      .enable(1'b1),
      .first(first),
      .x(x),
      .codes(codes),
      .mask(mask),
      .sum(sum)
  );
  assign ok = sum == (first_before ? products[DELAY] : sum_before + products[DELAY]);
endmodule
