// fl_affine: clip(x, low, high) * multiplier + bias of STEPS cycles before, modulo 2**OUT, where the
// constants have stayed as they are.
module proof #(
    parameter IN = 8,
    parameter CLIP = 1,
    parameter CLIPPED = 8,
    parameter FACTOR = 2,
    parameter BITS = 4,
    parameter TERMS = 2,
    parameter BIAS = 1,
    parameter OUT = 14,
    parameter STEPS = 1 + CLIP + (FACTOR == 2 ? TERMS : FACTOR) + BIAS
) (
    input  wire                      clk,
    input  wire        [     IN-1:0] x,
    input  wire signed [CLIPPED-1:0] low,
    input  wire signed [CLIPPED-1:0] high,
    input  wire [    TERMS*BITS-1:0] factor,
    input  wire [         TERMS-1:0] there,
    input  wire [           OUT-1:0] bias,
    output wire                      ok
);
  localparam WIDE = CLIPPED > OUT ? CLIPPED + 1 : OUT + 1;
  localparam CONSTANTS = 2 * CLIPPED + TERMS * (BITS + 1) + OUT;
  wire [CONSTANTS-1:0] constants = {low, high, factor, there, bias};
  reg [CONSTANTS-1:0] constants_before;
  reg [STEPS-1:0] steady;
  wire [OUT-1:0] v;
  reg [IN*STEPS-1:0] earlier;
  wire signed [CLIPPED-1:0] value =
      {{(CLIPPED - IN + 1) {earlier[IN*STEPS-1]}}, earlier[IN*STEPS-2-:IN-1]};
  wire signed [CLIPPED-1:0] clipped =
      CLIP == 0 ? value : value < low ? low : value > high ? high : value;
  wire signed [WIDE-1:0] wide = {{(WIDE - CLIPPED) {clipped[CLIPPED-1]}}, clipped};
  wire signed [BITS-1:0] multiplier = factor[BITS-1:0];
  reg signed [WIDE-1:0] expected;
  integer t;

  always @* begin
    expected = BIAS != 0 ? bias : 0;
    if (FACTOR == 0) expected = expected + wide;
    if (FACTOR == 1) expected = expected + wide * multiplier;
    if (FACTOR == 2) begin
      for (t = 0; t < TERMS; t = t + 1) begin
        if (there[t] && factor[t*BITS+BITS-1]) begin
          expected = expected - (wide <<< factor[t*BITS+:BITS-1]);
        end else if (there[t]) begin
          expected = expected + (wide <<< factor[t*BITS+:BITS-1]);
        end
      end
    end
  end
  always @(posedge clk) begin
    earlier <= {earlier, x};
    constants_before <= constants;
    steady <= {steady, constants == constants_before};
  end

  fl_affine #(
      .IN(IN),
      .CLIP(CLIP),
      .CLIPPED(CLIPPED),
      .FACTOR(FACTOR),
      .BITS(BITS),
      .TERMS(TERMS),
      .BIAS(BIAS),
      .OUT(OUT)
  ) unit (
      .clk(clk),
      .enable({STEPS{1'b1}}),
      .x(x),
      .low(low),
      .high(high),
      .factor(factor),
      .there(there),
      .bias(bias),
      .v(v)
  );
  assign ok = !(&steady) || constants != constants_before || low > high || v == expected[OUT-1:0];
endmodule
