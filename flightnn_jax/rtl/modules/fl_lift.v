// Values shifted to the left by a number of their channel, modulo 2^OUT.
//
//   VALUES  values of a beat
//   BEATS   beats of a pixel
//   IN      bits of a value
//   BITS    of a shift; 0 for none
//   OUT     bits of a result
//   FILE    BEATS words of VALUES shifts
//
// Two registers: the values, the results. `take` says that a beat comes in.
module fl_lift #(
    parameter VALUES = 1,
    parameter BEATS = 1,
    parameter IN = 8,
    parameter BITS = 0,
    parameter OUT = 24,
    parameter FILE = "none.hex"
) (
    input  wire                  clk,
    input  wire                  rst,
    input  wire                  take,
    input  wire [           1:0] enable,
    input  wire [ VALUES*IN-1:0] x,
    output reg  [VALUES*OUT-1:0] y
);
  localparam CW = BEATS > 1 ? $clog2(BEATS) : 1;
  localparam LW = BITS > 0 ? BITS : 1;
  localparam WIDE = OUT > IN ? OUT : IN;
  localparam [CW-1:0] LAST = BEATS[CW-1:0] - 1'b1;
  reg [VALUES*IN-1:0] taken;
  wire [VALUES*LW-1:0] lifts;
  genvar i;

  always @(posedge clk) if (enable[0]) taken <= x;

  generate
    if (BITS > 0) begin : lift
      reg [CW-1:0] beat;
      always @(posedge clk) begin
        if (rst) beat <= {CW{1'b0}};
        else if (take) beat <= beat == LAST ? {CW{1'b0}} : beat + 1'b1;
      end
      fl_rom #(
          .WIDTH(VALUES * LW),
          .DEPTH(BEATS),
          .FILE(FILE)
      ) rom (
          .clk(clk),
          .read(enable[0]),
          .address(beat),
          .data(lifts)
      );
    end else begin : none
      wire unused = &{1'b0, take, rst, LAST};
      assign lifts = {VALUES * LW{1'b0}};
    end

    for (i = 0; i < VALUES; i = i + 1) begin : value
      wire [IN-1:0] narrow = taken[i*IN+:IN];
      wire [WIDE-1:0] wide = {{(WIDE - IN + 1) {narrow[IN-1]}}, narrow[IN-2:0]};
      wire [WIDE-1:0] shifted = wide << lifts[i*LW+:LW];
      wire unused = &{1'b0, shifted};
      always @(posedge clk) if (enable[1]) y[i*OUT+:OUT] <= shifted[OUT-1:0];
    end
  endgenerate
endmodule
