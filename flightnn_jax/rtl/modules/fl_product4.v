// One activation times one 4-bit signed weight.
//
//   DSP  1 for a multiplier, 0 for adders
//
// Proven by Yosys's sat (proofs/product4.v): all of this, for every input.
module fl_product4 #(
    parameter DSP = 0
) (
    input  wire [ 7:0] x,
    input  wire [ 3:0] weight,
    input  wire        mask,
    output wire [11:0] product
);
  wire signed [11:0] wide = {{4{x[7]}}, x};
  wire signed [11:0] factor = {{8{weight[3]}}, weight};
  wire signed [11:0] result;

  generate
    if (DSP != 0) begin : multiplier
      assign result = wide * factor;
    end else begin : adders
      wire [11:0] low = (weight[0] ? wide : 12'd0) + (weight[1] ? wide << 1 : 12'd0);
      wire [11:0] high = (weight[2] ? wide << 2 : 12'd0) - (weight[3] ? wide << 3 : 12'd0);
      assign result = low + high;
      wire unused = &{1'b0, factor};
    end
  endgenerate

  assign product = mask ? result : 12'd0;
endmodule
