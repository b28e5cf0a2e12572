// From sums to activations, or to sums with their affine map: a value's channel has constants of its
// own, in files of BEATS words of VALUES constants.
//
//   VALUES  values of a beat
//   BEATS   beats of a pixel
//   IN, CLIP, CLIPPED, FACTOR, BITS, TERMS, BIAS  as in fl_affine
//   V            bits of v
//   ACTIVATE     1 for activations, 0 where v is what goes out
//   LEAST, MORE, SLOPE  as in fl_activate
//   LIMITS_FILE  high and low; FACTOR_FILE; BIAS_FILE; SHIFT_FILE, what is added to LEAST
//   BLOCK        1 for block RAM
module fl_requantize #(
    parameter VALUES = 1,
    parameter BEATS = 4,
    parameter IN = 16,
    parameter CLIP = 1,
    parameter CLIPPED = 16,
    parameter FACTOR = 1,
    parameter BITS = 16,
    parameter TERMS = 1,
    parameter BIAS = 1,
    parameter V = 24,
    parameter ACTIVATE = 1,
    parameter LEAST = 8,
    parameter MORE = 0,
    parameter SLOPE = 3,
    parameter LIMITS_FILE = "none.hex",
    parameter FACTOR_FILE = "none.hex",
    parameter BIAS_FILE = "none.hex",
    parameter SHIFT_FILE = "none.hex",
    parameter BLOCK = 0,
    parameter OUT = ACTIVATE != 0 ? 8 : V
) (
    input  wire                  clk,
    input  wire                  rst,
    input  wire                  in_valid,
    output wire                  in_ready,
    input  wire [ VALUES*IN-1:0] in_data,
    output wire                  out_valid,
    input  wire                  out_ready,
    output wire [VALUES*OUT-1:0] out_data
);
  localparam FACTORS = FACTOR == 0 ? 0 : FACTOR == 1 ? 1 : TERMS;
  localparam AFFINE = 1 + CLIP + FACTORS + BIAS;
  localparam STEPS = AFFINE + (ACTIVATE != 0 ? 3 : 0);
  localparam CW = BEATS > 1 ? $clog2(BEATS) : 1;
  localparam MW = MORE > 0 ? MORE : 1;
  localparam [CW-1:0] LAST = BEATS[CW-1:0] - 1'b1;

  wire [STEPS-1:0] enable;
  wire pipe_valid, pipe_ready;
  wire [VALUES*OUT-1:0] pipe_data;
  reg [CW-1:0] beat;
  wire [VALUES*2*CLIPPED-1:0] limits;
  wire [VALUES*TERMS*(BITS+1)-1:0] factors;  // for each value: there, then the terms
  wire [VALUES*V-1:0] biases;
  wire [VALUES*MW-1:0] shifts;
  genvar i, s, t;

  fl_elastic #(
      .STEPS(STEPS)
  ) steps (
      .clk(clk),
      .rst(rst),
      .in_valid(in_valid),
      .in_ready(in_ready),
      .out_valid(pipe_valid),
      .out_ready(pipe_ready),
      .enable(enable)
  );

  always @(posedge clk) begin
    if (rst) beat <= {CW{1'b0}};
    else if (in_valid && in_ready) beat <= beat == LAST ? {CW{1'b0}} : beat + 1'b1;
  end

  // Which beat of its pixel each register holds; a constant is read one register before its use.
  generate
    for (s = 0; s < STEPS; s = s + 1) begin : at
      wire [CW-1:0] earlier;
      reg [CW-1:0] number;
      wire unused = &{1'b0, number};  // of the last one
      always @(posedge clk) if (enable[s]) number <= earlier;
      if (s == 0) begin : first
        assign earlier = beat;
      end else begin : later
        assign earlier = at[s-1].number;
      end
    end

    if (CLIP != 0) begin : clip
      fl_rom #(
          .WIDTH(VALUES * 2 * CLIPPED),
          .DEPTH(BEATS),
          .BLOCK(BLOCK),
          .FILE(LIMITS_FILE)
      ) rom (
          .clk(clk),
          .read(enable[0]),
          .address(at[0].earlier),
          .data(limits)
      );
    end else begin : no_clip
      assign limits = {VALUES * 2 * CLIPPED{1'b0}};
    end

    if (FACTOR == 1) begin : multiplier
      fl_rom #(
          .WIDTH(VALUES * (BITS + 1)),
          .DEPTH(BEATS),
          .BLOCK(BLOCK),
          .FILE(FACTOR_FILE)
      ) rom (
          .clk(clk),
          .read(enable[CLIP]),
          .address(at[CLIP].earlier),
          .data(factors)
      );
    end else if (FACTOR == 2) begin : shifts_of_affine
      // Terms are used one register after the other: each has its own words, one file of all.
      for (t = 0; t < TERMS; t = t + 1) begin : term
        wire [VALUES*TERMS*(BITS+1)-1:0] word;
        wire unused = &{1'b0, word};
        fl_rom #(
            .WIDTH(VALUES * TERMS * (BITS + 1)),
            .DEPTH(BEATS),
            .BLOCK(BLOCK),
            .FILE(FACTOR_FILE)
        ) rom (
            .clk(clk),
            .read(enable[CLIP+t]),
            .address(at[CLIP+t].earlier),
            .data(word)
        );
        for (i = 0; i < VALUES; i = i + 1) begin : value
          localparam J = i * TERMS + t;
          assign factors[J*(BITS+1)+:BITS+1] = word[J*(BITS+1)+:BITS+1];
        end
      end
    end else begin : no_factor
      assign factors = {VALUES * TERMS * (BITS + 1) {1'b0}};
    end

    if (BIAS != 0) begin : bias
      fl_rom #(
          .WIDTH(VALUES * V),
          .DEPTH(BEATS),
          .BLOCK(BLOCK),
          .FILE(BIAS_FILE)
      ) rom (
          .clk(clk),
          .read(enable[AFFINE-2]),
          .address(at[AFFINE-2].earlier),
          .data(biases)
      );
    end else begin : no_bias
      assign biases = {VALUES * V{1'b0}};
    end

    if (ACTIVATE != 0 && MORE > 0) begin : shift
      fl_rom #(
          .WIDTH(VALUES * MW),
          .DEPTH(BEATS),
          .BLOCK(BLOCK),
          .FILE(SHIFT_FILE)
      ) rom (
          .clk(clk),
          .read(enable[AFFINE]),
          .address(at[AFFINE].earlier),
          .data(shifts)
      );
    end else begin : no_shift
      assign shifts = {VALUES * MW{1'b0}};
    end

    for (i = 0; i < VALUES; i = i + 1) begin : value
      wire [V-1:0] v;
      wire [TERMS*BITS-1:0] factor;
      wire [TERMS-1:0] there;
      for (t = 0; t < TERMS; t = t + 1) begin : term
        assign {there[t], factor[t*BITS+:BITS]} = factors[(i*TERMS+t)*(BITS+1)+:BITS+1];
      end
      fl_affine #(
          .IN(IN),
          .CLIP(CLIP),
          .CLIPPED(CLIPPED),
          .FACTOR(FACTOR),
          .BITS(BITS),
          .TERMS(TERMS),
          .BIAS(BIAS),
          .OUT(V)
      ) affine (
          .clk(clk),
          .enable(enable[AFFINE-1:0]),
          .x(in_data[i*IN+:IN]),
          .low(limits[i*2*CLIPPED+:CLIPPED]),
          .high(limits[(i*2+1)*CLIPPED+:CLIPPED]),
          .factor(factor),
          .there(there),
          .bias(biases[i*V+:V]),
          .v(v)
      );
      if (ACTIVATE != 0) begin : activation
        fl_activate #(
            .IN(V),
            .LEAST(LEAST),
            .MORE(MORE),
            .SLOPE(SLOPE)
        ) activate (
            .clk(clk),
            .enable(enable[STEPS-1:STEPS-3]),
            .v(v),
            .more(shifts[i*MW+:MW]),
            .y(pipe_data[i*8+:8])
        );
      end else begin : sums
        wire unused = &{1'b0, shifts};
        assign pipe_data[i*V+:V] = v;
      end
    end
  endgenerate

  fl_buffer #(
      .WIDTH(VALUES * OUT)
  ) buffer (
      .clk(clk),
      .rst(rst),
      .in_valid(pipe_valid),
      .in_ready(pipe_ready),
      .in_data(pipe_data),
      .out_valid(out_valid),
      .out_ready(out_ready),
      .out_data(out_data)
  );
endmodule
