// All pixels of a window at once, a window for each pixel that comes in.
//
//   BITS     of a pixel: all of its channels
//   HEIGHT, WIDTH  of the map
//   SIZE, STRIDE   of the window, odd, and of its steps
//   BLOCK    1 for block RAM, 0 for distributed memory
//
// Pixels come in in raster order. The pixel in the middle of a window came in LAG pixels before the
// last one, so LAG enabled cycles pass behind an image until the next one may come. Zeros outside
// of the map are made, not stored. Row by row and within a row from the left, the first pixel
// lowest, `x` has the window while `valid` is high. All moves on in enabled cycles only: a pixel
// that comes in in one of them completes a window that is there behind the next one.
//
// Proven by Yosys's sat (proofs/windows.v): all of this, for maps of up to 3 x 4 pixels of a bit,
// strides of 1 to 3, windows of up to 5.
module fl_windows #(
    parameter BITS = 8,
    parameter HEIGHT = 4,
    parameter WIDTH = 4,
    parameter SIZE = 3,
    parameter STRIDE = 1,
    parameter BLOCK = 0
) (
    input  wire                      clk,
    input  wire                      rst,
    input  wire                      in_valid,
    output wire                      in_ready,
    input  wire [          BITS-1:0] in_data,
    input  wire                      enable,
    output wire                      valid,
    output wire [SIZE*SIZE*BITS-1:0] x
);
  localparam PAD = (SIZE - 1) / 2;
  localparam LAG = PAD * WIDTH + PAD;
  localparam PIXELS = HEIGHT * WIDTH;
  localparam MOVES = PIXELS + LAG;  // of an image
  localparam NW = $clog2(MOVES + 1);
  localparam [NW-1:0] ALL = PIXELS[NW-1:0];
  localparam [NW-1:0] LAST_MOVE = MOVES[NW-1:0] - 1'b1;
  localparam [NW-1:0] BEHIND = LAG[NW-1:0];
  localparam XW = $clog2(WIDTH + SIZE) + 1;
  localparam YW = $clog2(HEIGHT + SIZE) + 1;
  localparam SW = STRIDE > 1 ? $clog2(STRIDE) : 1;
  localparam [XW-1:0] LAST_COLUMN = WIDTH[XW-1:0] - 1'b1;
  localparam [YW-1:0] LAST_ROW = HEIGHT[YW-1:0] - 1'b1;
  localparam [SW-1:0] LAST_OF_STRIDE = STRIDE[SW-1:0] - 1'b1;

  // ---- a pixel comes in, or, behind an image, what pushes its last windows out
  reg [NW-1:0] index;  // of the move in its image
  wire push = index >= ALL;
  wire move = enable && (in_valid || push);
  reg moved, middle;  // middle: there is a pixel in the middle
  reg [BITS-1:0] pixel;
  wire advance = enable && moved;

  assign in_ready = enable && !push;

  always @(posedge clk) begin
    if (enable) begin
      moved  <= in_valid || push;
      middle <= index + 1'b1 > BEHIND;
      pixel  <= in_data;
    end
    if (move) index <= index == LAST_MOVE ? {NW{1'b0}} : index + 1'b1;
    if (rst) begin
      moved <= 1'b0;
      index <= {NW{1'b0}};
    end
  end

  // ---- the pixels above it
  wire [SIZE*BITS-1:0] column;  // the highest row lowest
  generate
    if (SIZE == 1) begin : alone
      assign column = pixel;
    end else begin : lines
      wire [(SIZE-1)*BITS-1:0] above;

      if (WIDTH == 1) begin : narrow
        reg [(SIZE-1)*BITS-1:0] kept_above;
        always @(posedge clk) if (advance) kept_above <= column[SIZE*BITS-1:BITS];
        assign above = kept_above;
      end else begin : wide
        localparam AW = $clog2(WIDTH);
        localparam [AW-1:0] LAST = WIDTH[AW-1:0] - 1'b1;
        reg [AW-1:0] address, written;
        always @(posedge clk) begin
          if (move) begin
            address <= address == LAST ? {AW{1'b0}} : address + 1'b1;
            written <= address;
          end
          if (rst) address <= {AW{1'b0}};
        end
        fl_ram #(
            .WIDTH((SIZE - 1) * BITS),
            .DEPTH(WIDTH),
            .BLOCK(BLOCK)
        ) memory (
            .clk(clk),
            .write(advance),
            .write_address(written),
            .write_data(column[SIZE*BITS-1:BITS]),
            .read(move),
            .read_address(address),
            .read_data(above)
        );
      end

      assign column = {pixel, above};
    end
  endgenerate

  // ---- where the middle is, and what of the window is outside
  reg [XW-1:0] at_x;
  reg [YW-1:0] at_y;
  reg [SW-1:0] skip_x, skip_y;  // since the last window, modulo STRIDE
  reg there;
  reg [SIZE-1:0] rows, columns;
  wire [SIZE-1:0] rows_now, columns_now;
  wire row_ends = at_x == LAST_COLUMN;
  genvar i;

  generate
    if (SIZE == 1) begin : whole
      assign rows_now = 1'b1;
      assign columns_now = 1'b1;
    end else begin : around
      for (i = 0; i < SIZE; i = i + 1) begin : place
        localparam [YW-1:0] DOWN = i[YW-1:0];
        localparam [XW-1:0] RIGHT = i[XW-1:0];
        wire [YW-1:0] y = at_y + DOWN;  // both with PAD added
        wire [XW-1:0] x_now = at_x + RIGHT;
        assign rows_now[i] = y >= PAD[YW-1:0] && y < HEIGHT[YW-1:0] + PAD[YW-1:0];
        assign columns_now[i] = x_now >= PAD[XW-1:0] && x_now < WIDTH[XW-1:0] + PAD[XW-1:0];
      end
    end
  endgenerate

  always @(posedge clk) begin
    if (enable) there <= moved && middle && skip_x == {SW{1'b0}} && skip_y == {SW{1'b0}};
    if (advance) begin
      rows <= rows_now;
      columns <= columns_now;
      if (middle) begin
        at_x   <= row_ends ? {XW{1'b0}} : at_x + 1'b1;
        skip_x <= row_ends || skip_x == LAST_OF_STRIDE ? {SW{1'b0}} : skip_x + 1'b1;
        if (row_ends) begin
          at_y   <= at_y == LAST_ROW ? {YW{1'b0}} : at_y + 1'b1;
          skip_y <= at_y == LAST_ROW || skip_y == LAST_OF_STRIDE ? {SW{1'b0}} : skip_y + 1'b1;
        end
      end
    end
    if (rst) begin
      there  <= 1'b0;
      at_x   <= {XW{1'b0}};
      at_y   <= {YW{1'b0}};
      skip_x <= {SW{1'b0}};
      skip_y <= {SW{1'b0}};
    end
  end

  // ---- the window: the last columns
  reg [SIZE*SIZE*BITS-1:0] kept;  // the left column lowest
  genvar r, c;
  generate
    if (SIZE == 1) begin : one
      always @(posedge clk) if (advance) kept <= column;
    end else begin : several
      always @(posedge clk) if (advance) kept <= {column, kept[SIZE*SIZE*BITS-1:SIZE*BITS]};
    end
    for (r = 0; r < SIZE; r = r + 1) begin : row
      for (c = 0; c < SIZE; c = c + 1) begin : place
        assign x[(r*SIZE+c)*BITS+:BITS] =
            rows[r] && columns[c] ? kept[(c*SIZE+r)*BITS+:BITS] : {BITS{1'b0}};
      end
    end
  endgenerate
  assign valid = there;
endmodule
