// The leaky ReLU, a shift to the right with rounding to the nearest, ties to even, and saturation to
// eight bits: clip(even(v, LEAST + more + (v < 0 ? SLOPE : 0)), -128, 127).
//
//   IN     bits of v
//   LEAST  smallest shift
//   MORE   bits of what a channel adds to it; 0 where all channels have LEAST
//   SLOPE  0 for none
//
// Three registers: the bits at and below the half are told apart; shifted by `more`; rounded.
// `more` goes in with what stands before the second register. Rounding adds the half bit where any
// bit below it is set or the floor is odd, so no carry runs below the half.
//
// Proven by Yosys's sat (proofs/activate.v): the rounding, for every input of five shapes.
module fl_activate #(
    parameter IN = 24,
    parameter LEAST = 8,
    parameter MORE = 0,
    parameter SLOPE = 3,
    parameter MW = MORE > 0 ? MORE : 1
) (
    input  wire          clk,
    input  wire [   2:0] enable,
    input  wire [IN-1:0] v,
    input  wire [MW-1:0] more,
    output reg  [   7:0] y
);
  localparam W = IN + 1;  // with the half as bit 0
  localparam Q = W > 10 ? W : 10;
  localparam [W-1:0] ONE = {{(W - 1) {1'b0}}, 1'b1};
  localparam [W-1:0] BELOW = LEAST >= W ? {W{1'b1}} : (ONE << LEAST) - ONE;
  localparam [W-1:0] BELOW_NEGATIVE = LEAST + SLOPE >= W ? {W{1'b1}} : (ONE << (LEAST + SLOPE)) - ONE;

  wire negative = v[IN-1];
  wire signed [W-1:0] halves = {v, 1'b0};
  wire signed [W-1:0] shifted_positive = halves >>> LEAST;
  wire signed [W-1:0] shifted_negative = halves >>> (LEAST + SLOPE);

  // first: by the shift that all channels have
  reg signed [W-1:0] value_1;
  reg sticky_1;
  always @(posedge clk) begin
    if (enable[0]) begin
      value_1  <= negative ? shifted_negative : shifted_positive;
      sticky_1 <= |(halves & (negative ? BELOW_NEGATIVE : BELOW));
    end
  end

  // second: by the channel's own
  wire signed [W-1:0] value_now;
  wire sticky_now;
  generate
    if (MORE > 0) begin : variable
      wire [W-1:0] lost = ~({W{1'b1}} << more);
      assign value_now  = value_1 >>> more;
      assign sticky_now = sticky_1 || (|(value_1 & lost));
    end else begin : constant
      wire unused = &{1'b0, more};
      assign value_now  = value_1;
      assign sticky_now = sticky_1;
    end
  endgenerate
  reg [W-1:0] value_2;
  reg sticky_2;
  always @(posedge clk) begin
    if (enable[1]) begin
      value_2  <= value_now;
      sticky_2 <= sticky_now;
    end
  end

  // third: rounded and saturated
  wire [Q-1:0] wide = {{(Q - W + 1) {value_2[W-1]}}, value_2[W-2:0]};
  wire sign = wide[Q-1];
  wire fits = wide[Q-1:8] == {(Q - 8) {sign}};  // the floor is in -128 to 127
  wire up = wide[0] && (sticky_2 || wide[1]) && wide[8:1] != 8'h7f;
  always @(posedge clk) begin
    if (enable[2]) y <= fits ? wide[8:1] + {7'd0, up} : {sign, {7{!sign}}};
  end
endmodule
