// The sum of each channel over all pixels of an image.
//
//   VALUES     activations of a beat
//   BEATS      beats of a pixel
//   POSITIONS  pixels
//   OUT        bits of a sum
//   BLOCK      1 for block RAM
module fl_average #(
    parameter VALUES = 1,
    parameter BEATS = 1,
    parameter POSITIONS = 4,
    parameter OUT = 16,
    parameter BLOCK = 0
) (
    input  wire                  clk,
    input  wire                  rst,
    input  wire                  in_valid,
    output wire                  in_ready,
    input  wire [  VALUES*8-1:0] in_data,
    output wire                  out_valid,
    input  wire                  out_ready,
    output wire [VALUES*OUT-1:0] out_data
);
  localparam AW = BEATS > 1 ? $clog2(BEATS) : 1;
  localparam PW = POSITIONS > 1 ? $clog2(POSITIONS) : 1;
  localparam [AW-1:0] LAST = BEATS[AW-1:0] - 1'b1;
  localparam [PW-1:0] LAST_POSITION = POSITIONS[PW-1:0] - 1'b1;

  reg [AW-1:0] beat;
  reg [PW-1:0] position;
  wire first = position == {PW{1'b0}};
  wire last = position == LAST_POSITION;

  always @(posedge clk) begin
    if (in_valid && in_ready) begin
      beat <= beat == LAST ? {AW{1'b0}} : beat + 1'b1;
      if (beat == LAST) position <= last ? {PW{1'b0}} : position + 1'b1;
    end
    if (rst) begin
      beat <= {AW{1'b0}};
      position <= {PW{1'b0}};
    end
  end

  fl_reduce #(
      .MAXIMUM(0),
      .VALUES(VALUES),
      .IN(8),
      .OUT(OUT),
      .DEPTH(BEATS),
      .BLOCK(BLOCK)
  ) sums (
      .clk(clk),
      .rst(rst),
      .in_valid(in_valid),
      .in_ready(in_ready),
      .in_data(in_data),
      .address(beat),
      .first(first),
      .last(last),
      .out_valid(out_valid),
      .out_ready(out_ready),
      .out_data(out_data)
  );
endmodule
