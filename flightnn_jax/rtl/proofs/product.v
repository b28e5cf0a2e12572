// fl_product: product + one is the activation times the term, or 0 under the mask.
module proof (
    input  wire [7:0] x,
    input  wire [3:0] code,
    input  wire       mask,
    output wire       ok
);
  wire [14:0] product;
  wire one;
  wire signed [15:0] value = {{8{x[7]}}, x};
  wire signed [15:0] shifted = value <<< code[3:1];
  wire signed [15:0] expected = !mask ? 16'd0 : code[0] ? -shifted : shifted;
  wire signed [15:0] given = {product[14], product} + {15'd0, one};

  fl_product unit (
      .x(x),
      .code(code),
      .mask(mask),
      .product(product),
      .one(one)
  );
  assign ok = given == expected;
endmodule
