// The largest of each 2x2 square, in raster order.
//
//   VALUES  activations of a beat
//   BEATS   beats of a pixel
//   WIDTH   of the map, even
//   BLOCK   1 for block RAM
module fl_pool #(
    parameter VALUES = 1,
    parameter BEATS = 1,
    parameter WIDTH = 4,
    parameter BLOCK = 0
) (
    input  wire                clk,
    input  wire                rst,
    input  wire                in_valid,
    output wire                in_ready,
    input  wire [VALUES*8-1:0] in_data,
    output wire                out_valid,
    input  wire                out_ready,
    output wire [VALUES*8-1:0] out_data
);
  localparam DEPTH = WIDTH / 2 * BEATS;
  localparam AW = DEPTH > 1 ? $clog2(DEPTH) : 1;
  localparam CW = BEATS > 1 ? $clog2(BEATS) : 1;
  localparam [CW-1:0] LAST = BEATS[CW-1:0] - 1'b1;
  localparam [AW-1:0] LAST_ADDRESS = DEPTH[AW-1:0] - 1'b1;

  reg [CW-1:0] beat;
  reg [AW-1:0] start, address;  // of the square, and of the beat
  reg right, below;
  wire pixel_ends = beat == LAST;
  wire row_ends = right && address == LAST_ADDRESS;

  always @(posedge clk) begin
    if (in_valid && in_ready) begin
      beat <= pixel_ends ? {CW{1'b0}} : beat + 1'b1;
      address <= row_ends ? {AW{1'b0}} : pixel_ends && !right ? start : address + 1'b1;
      if (pixel_ends) begin
        right <= !right;
        if (right) start <= row_ends ? {AW{1'b0}} : address + 1'b1;
        if (row_ends) below <= !below;
      end
    end
    if (rst) begin
      beat <= {CW{1'b0}};
      address <= {AW{1'b0}};
      start <= {AW{1'b0}};
      right <= 1'b0;
      below <= 1'b0;
    end
  end

  fl_reduce #(
      .MAXIMUM(1),
      .VALUES(VALUES),
      .IN(8),
      .OUT(8),
      .DEPTH(DEPTH),
      .BLOCK(BLOCK)
  ) squares (
      .clk(clk),
      .rst(rst),
      .in_valid(in_valid),
      .in_ready(in_ready),
      .in_data(in_data),
      .address(address),
      .first(!right && !below),
      .last(right && below),
      .out_valid(out_valid),
      .out_ready(out_ready),
      .out_data(out_data)
  );
endmodule
