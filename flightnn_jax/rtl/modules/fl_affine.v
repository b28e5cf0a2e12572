// clip(x, low, high) * multiplier + bias for one value, modulo 2^OUT: right where the result fits.
//
//   IN      bits of x
//   CLIP    1 to clip, 0 where no sum is outside
//   CLIPPED bits of what the clip gives: IN without one
//   FACTOR  0 for no multiplier, 1 for a multiplication, 2 for a sum of shifted values
//   BITS    bits of the multiplier; of a term, its sign above its shift, where FACTOR is 2
//   TERMS   of the sum, where FACTOR is 2: a term is absent where its bit of `there` is 0
//   BIAS    1 to add one
//   OUT     bits of the result
//
// Registers: x; clipped, if CLIP; the product, or one for each term; the result, if BIAS. A constant
// goes in with what stands before the register in which it is used.
//
// Proven by Yosys's sat (proofs/affine.v): the map, for five shapes.
module fl_affine #(
    parameter IN = 16,
    parameter CLIP = 1,
    parameter CLIPPED = 16,
    parameter FACTOR = 1,
    parameter BITS = 16,
    parameter TERMS = 1,
    parameter BIAS = 1,
    parameter OUT = 24,
    parameter FACTORS = FACTOR == 0 ? 0 : FACTOR == 1 ? 1 : TERMS,
    parameter STEPS = 1 + CLIP + FACTORS + BIAS
) (
    input  wire                    clk,
    input  wire [       STEPS-1:0] enable,
    input  wire [          IN-1:0] x,
    input  wire [     CLIPPED-1:0] low,
    input  wire [     CLIPPED-1:0] high,
    input  wire [  TERMS*BITS-1:0] factor,
    input  wire [       TERMS-1:0] there,
    input  wire [         OUT-1:0] bias,
    output wire [         OUT-1:0] v
);
  localparam WIDE = CLIPPED > OUT ? CLIPPED : OUT;
  reg [IN-1:0] taken;
  wire signed [CLIPPED-1:0] clipped;
  wire [OUT-1:0] product;
  genvar t;

  always @(posedge clk) if (enable[0]) taken <= x;

  generate
    if (CLIP != 0) begin : clip
      wire signed [CLIPPED-1:0] value = {{(CLIPPED - IN + 1) {taken[IN-1]}}, taken[IN-2:0]};
      wire signed [CLIPPED-1:0] least = low;
      wire signed [CLIPPED-1:0] most = high;
      reg signed [CLIPPED-1:0] result;
      always @(posedge clk) begin
        if (enable[1]) result <= value < least ? least : value > most ? most : value;
      end
      assign clipped = result;
    end else begin : whole
      wire unused = &{1'b0, low, high};
      assign clipped = taken;
    end

    if (FACTOR == 0) begin : no_factor
      wire [WIDE-1:0] wide = {{(WIDE - CLIPPED + 1) {clipped[CLIPPED-1]}}, clipped[CLIPPED-2:0]};
      wire unused = &{1'b0, factor, there, wide};
      assign product = wide[OUT-1:0];
    end else if (FACTOR == 1) begin : multiply
      wire signed [BITS-1:0] multiplier = factor;
      wire signed [CLIPPED+BITS-1:0] exact = clipped * multiplier;
      localparam FULL = CLIPPED + BITS > OUT ? CLIPPED + BITS : OUT;
      wire [FULL-1:0] wide = {
        {(FULL - CLIPPED - BITS + 1) {exact[CLIPPED+BITS-1]}}, exact[CLIPPED+BITS-2:0]
      };
      reg [OUT-1:0] result;
      always @(posedge clk) if (enable[1+CLIP]) result <= wide[OUT-1:0];
      wire unused = &{1'b0, there, wide};
      assign product = result;
    end else begin : shifts
      for (t = 0; t < TERMS; t = t + 1) begin : term
        // The value goes along with the sum of the terms before.
        reg [OUT-1:0] sum;
        wire [BITS-2:0] distance = factor[t*BITS+:BITS-1];
        wire minus = factor[t*BITS+BITS-1];
        wire [WIDE-1:0] wide;
        wire [OUT-1:0] earlier;
        wire [OUT-1:0] shifted = wide[OUT-1:0] << distance;
        wire [OUT-1:0] signed_term = there[t] ? shifted ^ {OUT{minus}} : {OUT{1'b0}};
        wire carry = there[t] && minus;
        wire unused = &{1'b0, wide};
        if (t == 0) begin : first
          assign wide = {{(WIDE - CLIPPED + 1) {clipped[CLIPPED-1]}}, clipped[CLIPPED-2:0]};
          assign earlier = {OUT{1'b0}};
        end else begin : later
          reg [WIDE-1:0] along;
          always @(posedge clk) if (enable[CLIP+t]) along <= term[t-1].wide;
          assign wide   = along;
          assign earlier = term[t-1].sum;
        end
        always @(posedge clk) begin
          if (enable[1+CLIP+t]) sum <= earlier + signed_term + {{(OUT - 1) {1'b0}}, carry};
        end
      end
      assign product = term[TERMS-1].sum;
    end

    if (BIAS != 0) begin : add
      reg [OUT-1:0] result;
      always @(posedge clk) if (enable[STEPS-1]) result <= product + bias;
      assign v = result;
    end else begin : no_bias
      wire unused = &{1'b0, bias};
      assign v = product;
    end
  endgenerate
endmodule
