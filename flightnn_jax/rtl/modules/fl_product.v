// One activation times one term, a signed power of two: product + one = +-(x << shift), or 0 where
// the term is masked.
//
//   code  2 shift + (1 for minus)
//
// Proven by Yosys's sat (proofs/product.v): all of this, for every input.
module fl_product (
    input  wire [ 7:0] x,
    input  wire [ 3:0] code,
    input  wire        mask,
    output wire [14:0] product,
    output wire        one
);
  wire [14:0] shifted = {{7{x[7]}}, x} << code[3:1];

  assign product = {15{mask}} & (shifted ^ {15{code[0]}});
  assign one = mask && code[0];
endmodule
