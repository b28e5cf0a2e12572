// The largest of each window, of what lies inside of the map, in raster order.
//
//   VALUES   activations of a beat
//   WORDS    beats of a pixel
//   HEIGHT, WIDTH, SIZE, STRIDE, PADDING, OUT_HEIGHT, OUT_WIDTH, ROWS   as in fl_group_rows
//   ROWS_BLOCK   1 for block RAM
//
// A beat takes SIZE * SIZE cycles. The whole pipeline waits while a beat is complete and the one
// before it has not left.
module fl_group_pool #(
    parameter VALUES = 1,
    parameter WORDS = 1,
    parameter HEIGHT = 4,
    parameter WIDTH = 4,
    parameter SIZE = 3,
    parameter STRIDE = 1,
    parameter PADDING = 1,
    parameter OUT_HEIGHT = 4,
    parameter OUT_WIDTH = 4,
    parameter ROWS = 4,
    parameter ROWS_BLOCK = 0
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
  localparam STEPS = SIZE * SIZE * WORDS;
  localparam AW = STEPS > 1 ? $clog2(STEPS) : 1;
  localparam TW = WORDS > 1 ? $clog2(WORDS) : 1;

  wire [AW-1:0] address;
  wire [TW-1:0] turn;
  wire valid, begins, ends;
  wire [VALUES*8-1:0] x, left_data;
  wire results_ready, left_valid, left_taken;
  wire unused = &{1'b0, address, turn};
  reg complete;
  reg [VALUES*8-1:0] largest;
  wire enable = !complete || results_ready;

  fl_group_rows #(
      .VALUES(VALUES),
      .WORDS(WORDS),
      .PART(1),
      .HEIGHT(HEIGHT),
      .WIDTH(WIDTH),
      .SIZE(SIZE),
      .STRIDE(STRIDE),
      .PADDING(PADDING),
      .OUT_HEIGHT(OUT_HEIGHT),
      .OUT_WIDTH(OUT_WIDTH),
      .ROWS(ROWS),
      .TURNS(WORDS),
      .EMPTY({WORDS{1'b0}}),
      .NEXT({WORDS{1'b1}}),
      .STEPS(STEPS),
      .OUTSIDE(8'h80),
      .BLOCK(ROWS_BLOCK)
  ) rows (
      .clk(clk),
      .rst(rst),
      .in_valid(in_valid),
      .in_ready(in_ready),
      .in_data(in_data),
      .enable(enable),
      .address(address),
      .turn(turn),
      .valid(valid),
      .begins(begins),
      .ends(ends),
      .x(x)
  );

  genvar i;
  generate
    for (i = 0; i < VALUES; i = i + 1) begin : value
      wire signed [7:0] now = x[i*8+:8];
      wire signed [7:0] old = largest[i*8+:8];
      always @(posedge clk) if (enable && (begins || now > old)) largest[i*8+:8] <= now;
    end
  endgenerate

  always @(posedge clk) begin
    if (rst) complete <= 1'b0;
    else if (enable) complete <= valid && ends;
  end

  fl_results #(
      .LANES(VALUES),
      .WIDTH(8),
      .VALUES(VALUES),
      .BEATS(1),
      .REST(1),
      .PASSES(1)
  ) results (
      .clk(clk),
      .rst(rst),
      .valid(complete),
      .ready(results_ready),
      .sums(largest),
      .out_valid(left_valid),
      .out_ready(left_taken),
      .out_data(left_data)
  );

  fl_buffer #(
      .WIDTH(VALUES * 8)
  ) buffer (
      .clk(clk),
      .rst(rst),
      .in_valid(left_valid),
      .in_ready(left_taken),
      .in_data(left_data),
      .out_valid(out_valid),
      .out_ready(out_ready),
      .out_data(out_data)
  );
endmodule
