// fl_lookup: the activation times the level, which the table has.
module proof #(
    parameter BITS = 3,
    parameter SIGNED = 0,
    parameter CODE = 3,
    parameter [(8<<CODE)-1:0] TABLE = 64'h7f_63_20_01_00_f1_9c_80,
    parameter WIDTH = 11
) (
    input  wire [BITS-1:0] x,
    input  wire [CODE-1:0] code,
    output wire            ok
);
  wire [WIDTH-1:0] product;
  wire [7:0] level = TABLE[8*code+:8];
  wire signed [WIDTH-1:0] factor = {{(WIDTH - 8) {level[7]}}, level};
  wire signed [WIDTH-1:0] value = {{(WIDTH - BITS) {SIGNED != 0 && x[BITS-1]}}, x};
  wire signed [WIDTH-1:0] expected = value * factor;

  fl_lookup #(
      .BITS(BITS),
      .SIGNED(SIGNED),
      .CODE(CODE),
      .TABLE(TABLE),
      .WIDTH(WIDTH)
  ) unit (
      .x(x),
      .code(code),
      .product(product)
  );
  assign ok = product == expected;
endmodule
