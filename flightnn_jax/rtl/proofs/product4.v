// fl_product4: the activation times the 4-bit integer, or 0 under the mask.
module proof #(
    parameter DSP = 0
) (
    input  wire [7:0] x,
    input  wire [3:0] weight,
    input  wire       mask,
    output wire       ok
);
  wire [11:0] product;
  wire signed [7:0] value = x;
  wire signed [3:0] factor = weight;
  wire signed [11:0] expected = value * factor;

  fl_product4 #(
      .DSP(DSP)
  ) unit (
      .x(x),
      .weight(weight),
      .mask(mask),
      .product(product)
  );
  assign ok = product == (mask ? expected : 12'd0);
endmodule
