// One activation, or some of its bits, times the level that a code numbers, looked up in a table of
// all products.
//
//   BITS    of an activation
//   SIGNED  1 for two's complement, 0 for activations that are not negative
//   CODE    bits of a code
//   TABLE   the level of each code in 8 bits, the first one lowest
//   WIDTH   bits of a product, 16 at most
//
// Products are right modulo 2^WIDTH. A bit of one is a table of CODE + BITS inputs.
//
// Proven by Yosys's sat (proofs/lookup.v): all of this, for every input.
module fl_lookup #(
    parameter BITS = 3,
    parameter SIGNED = 0,
    parameter CODE = 3,
    parameter [(8<<CODE)-1:0] TABLE = 0,
    parameter WIDTH = 11
) (
    input  wire [ BITS-1:0] x,
    input  wire [ CODE-1:0] code,
    output wire [WIDTH-1:0] product
);
  localparam ADDRESS = CODE + BITS;
  localparam SIZE = WIDTH << ADDRESS;

  // The products of all levels with the first activation, then of all with the second one, ..
  function [SIZE-1:0] products_of;
    input none;
    integer a, b, number, found;
    reg [7:0] level;
    begin
      products_of = {SIZE{none}};
      for (a = 0; a < 1 << ADDRESS; a = a + 1) begin
        number = a >> CODE;
        if (SIGNED != 0 && number >= 1 << (BITS - 1)) number = number - (1 << BITS);
        level = TABLE[8*(a%(1<<CODE))+:8];
        found = number * {{24{level[7]}}, level};
        for (b = 0; b < WIDTH; b = b + 1) products_of[a*WIDTH+b] = found[b];
      end
    end
  endfunction

  localparam [SIZE-1:0] PRODUCTS = products_of(1'b0);
  wire [ADDRESS-1:0] address = {x, code};
  genvar i;

  // Half of what is left is chosen by each bit of the address, the highest one first. The last one
  // is a code's: a choice of 0, which x could make, would become a reset.
  generate
    for (i = 0; i <= ADDRESS; i = i + 1) begin : chosen
      wire [(SIZE>>i)-1:0] left;
      if (i == 0) begin : all
        assign left = PRODUCTS;
      end else begin : half
        assign left = address[ADDRESS-i] ? chosen[i-1].left[SIZE>>i+:SIZE>>i]
            : chosen[i-1].left[0+:SIZE>>i];
      end
    end
  endgenerate
  assign product = chosen[ADDRESS].left;
endmodule
