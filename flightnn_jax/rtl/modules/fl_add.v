// The sum of two streams, each value shifted to the left by its channel's lift where there is one.
//
//   VALUES       values of a beat
//   BEATS        beats of a pixel
//   IN0, IN1     bits of a value
//   LIFT0, LIFT1 bits of the lifts; 0 where the input is sums
//   OUT          bits of a sum: it is right modulo 2^OUT
//   FILE0, FILE1 of the lifts
//
// Both streams are taken in one cycle. Three registers: inputs, lifted, sum.
module fl_add #(
    parameter VALUES = 1,
    parameter BEATS = 1,
    parameter IN0 = 8,
    parameter IN1 = 8,
    parameter LIFT0 = 0,
    parameter LIFT1 = 0,
    parameter OUT = 24,
    parameter FILE0 = "none.hex",
    parameter FILE1 = "none.hex"
) (
    input  wire                  clk,
    input  wire                  rst,
    input  wire                  in0_valid,
    output wire                  in0_ready,
    input  wire [VALUES*IN0-1:0] in0_data,
    input  wire                  in1_valid,
    output wire                  in1_ready,
    input  wire [VALUES*IN1-1:0] in1_data,
    output wire                  out_valid,
    input  wire                  out_ready,
    output wire [VALUES*OUT-1:0] out_data
);
  wire [2:0] enable;
  wire both = in0_valid && in1_valid;
  wire ready, pipe_valid, pipe_ready;
  wire [VALUES*OUT-1:0] lifted0, lifted1;
  reg [VALUES*OUT-1:0] sums;
  integer i;

  assign in0_ready = ready && in1_valid;
  assign in1_ready = ready && in0_valid;

  fl_elastic #(
      .STEPS(3)
  ) steps (
      .clk(clk),
      .rst(rst),
      .in_valid(both),
      .in_ready(ready),
      .out_valid(pipe_valid),
      .out_ready(pipe_ready),
      .enable(enable)
  );

  fl_lift #(
      .VALUES(VALUES),
      .BEATS(BEATS),
      .IN(IN0),
      .BITS(LIFT0),
      .OUT(OUT),
      .FILE(FILE0)
  ) lift0 (
      .clk(clk),
      .rst(rst),
      .take(both && ready),
      .enable(enable[1:0]),
      .x(in0_data),
      .y(lifted0)
  );

  fl_lift #(
      .VALUES(VALUES),
      .BEATS(BEATS),
      .IN(IN1),
      .BITS(LIFT1),
      .OUT(OUT),
      .FILE(FILE1)
  ) lift1 (
      .clk(clk),
      .rst(rst),
      .take(both && ready),
      .enable(enable[1:0]),
      .x(in1_data),
      .y(lifted1)
  );

  always @(posedge clk) begin
    if (enable[2]) begin
      for (i = 0; i < VALUES; i = i + 1) begin
        sums[i*OUT+:OUT] <= lifted0[i*OUT+:OUT] + lifted1[i*OUT+:OUT];
      end
    end
  end

  fl_buffer #(
      .WIDTH(VALUES * OUT)
  ) buffer (
      .clk(clk),
      .rst(rst),
      .in_valid(pipe_valid),
      .in_ready(pipe_ready),
      .in_data(sums),
      .out_valid(out_valid),
      .out_ready(out_ready),
      .out_data(out_data)
  );
endmodule
