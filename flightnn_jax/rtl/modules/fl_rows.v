// Keeps the last ROWS rows of a map and reads them window by window, once for each turn.
//
//   VALUES   activations of a word
//   BITS     of an activation
//   WORDS    words of a pixel
//   HEIGHT, WIDTH          of the map
//   SIZE, STRIDE           of the window, odd, and of its steps
//   OUT_HEIGHT, OUT_WIDTH  windows
//   ROWS     SIZE + STRIDE: while one row of windows is read the next ones' rows come in
//   TURNS    sweeps over each window
//   EMPTY    a bit for each turn, 1 where a single step does for the sweep
//   STEPS    of all turns of a window
//   BLOCK    1 for block RAM, 0 for distributed memory
//
// Words come in in raster order. A row of windows begins when all rows that it needs have come in,
// and then there is a step in every enabled cycle; rows of windows follow each other without a gap
// where they can, across images too. Zeros outside of the map are made, not stored.
//
// Three registers: a step's counters; `address` and `turn` of its constants; its activations `x`
// with the flags `valid`, `begins` and `ends` (of a sweep).
//
// Proven by Yosys's sat (proofs/rows.v): what the first three paragraphs say, for small maps of ten
// shapes; `x` by following an arbitrary word of the stream.
module fl_rows #(
    parameter VALUES = 1,
    parameter BITS = 8,
    parameter WORDS = 1,
    parameter HEIGHT = 4,
    parameter WIDTH = 4,
    parameter SIZE = 3,
    parameter STRIDE = 1,
    parameter OUT_HEIGHT = 4,
    parameter OUT_WIDTH = 4,
    parameter ROWS = 4,
    parameter TURNS = 1,
    parameter [TURNS-1:0] EMPTY = 0,
    parameter STEPS = 9,
    parameter BLOCK = 0,
    parameter AW = STEPS > 1 ? $clog2(STEPS) : 1,
    parameter TW = TURNS > 1 ? $clog2(TURNS) : 1
) (
    input  wire                   clk,
    input  wire                   rst,
    input  wire                   in_valid,
    output wire                   in_ready,
    input  wire [VALUES*BITS-1:0] in_data,
    input  wire                   enable,
    output wire [         AW-1:0] address,
    output wire [         TW-1:0] turn,
    output wire                   valid,
    output wire                   begins,
    output wire                   ends,
    output wire [VALUES*BITS-1:0] x
);
  localparam PAD = (SIZE - 1) / 2;
  localparam BORDER = PAD * WORDS;  // words of what is outside to the left
  localparam JUMP = STRIDE * WORDS;  // words from a window to the next one
  localparam PITCH = WIDTH * WORDS;  // words of a row
  localparam DEPTH = ROWS * PITCH;
  localparam SPAN = SIZE * WORDS;  // words of a window's row
  localparam MW = DEPTH > 1 ? $clog2(DEPTH) : 1;
  localparam CW = PITCH > 1 ? $clog2(PITCH) : 1;
  localparam SW = SPAN > 1 ? $clog2(SPAN) : 1;
  localparam DW = SIZE > 1 ? $clog2(SIZE) : 1;
  localparam XW = OUT_WIDTH > 1 ? $clog2(OUT_WIDTH) : 1;
  localparam RW = $clog2(ROWS) + 2;  // signed counts of rows
  localparam LW = $clog2(ROWS);  // places for rows
  localparam YW = $clog2(HEIGHT + STRIDE + 2 * SIZE) + 2;  // signed rows of the map
  localparam OW = $clog2(PITCH + SPAN + STRIDE * WORDS) + 2;  // signed words within a row
  localparam TOP = (OUT_HEIGHT - 1) * STRIDE - PAD;  // where the last windows begin

  localparam [MW-1:0] LAST_WORD = DEPTH[MW-1:0] - 1'b1;
  localparam [CW-1:0] LAST_COLUMN = PITCH[CW-1:0] - 1'b1;
  localparam [SW-1:0] LAST_OF_SPAN = SPAN[SW-1:0] - 1'b1;
  localparam [DW-1:0] LAST_OF_SIZE = SIZE[DW-1:0] - 1'b1;
  localparam [XW-1:0] LAST_X = OUT_WIDTH[XW-1:0] - 1'b1;
  localparam [TW-1:0] LAST_TURN = TURNS[TW-1:0] - 1'b1;
  localparam [LW-1:0] LAST_PLACE = ROWS[LW-1:0] - 1'b1;
  localparam [LW:0] PLACES = ROWS[LW:0];
  localparam signed [RW-1:0] MOST = ROWS[RW-1:0];
  localparam signed [YW-1:0] FIRST_ROW = -PAD[YW-1:0];
  localparam signed [YW-1:0] LAST_ROW = TOP[YW-1:0];
  localparam signed [YW-1:0] END = HEIGHT[YW-1:0];
  localparam signed [YW-1:0] DOWN = STRIDE[YW-1:0];
  localparam signed [YW-1:0] REACH = STRIDE[YW-1:0] + SIZE[YW-1:0];
  localparam signed [YW-1:0] FIRST_NEED =
      PAD < HEIGHT ? PAD[YW-1:0] + 1'b1 : HEIGHT[YW-1:0];
  localparam signed [OW-1:0] FIRST_OFFSET = -BORDER[OW-1:0];
  localparam signed [OW-1:0] RIGHT = JUMP[OW-1:0];
  localparam signed [OW-1:0] ROW_END = PITCH[OW-1:0];

  // ---- rows come in
  reg [MW-1:0] write_address;
  reg [CW-1:0] column;
  reg signed [RW-1:0] level;  // rows written less rows released: negative where a stride skips some
  reg signed [RW-1:0] leaving;  // rows to be released once their last word was read
  wire take = in_valid && in_ready;
  wire row_complete = take && column == LAST_COLUMN;
  wire signed [RW-1:0] one_row = {{(RW - 1) {1'b0}}, row_complete};
  wire release_now;
  wire signed [RW-1:0] released = release_now ? leaving : {RW{1'b0}};

  assign in_ready = level < MOST;

  always @(posedge clk) begin
    if (take) begin
      write_address <= write_address == LAST_WORD ? {MW{1'b0}} : write_address + 1'b1;
      column <= row_complete ? {CW{1'b0}} : column + 1'b1;
    end
    level <= level + one_row - released;
    if (rst) begin
      write_address <= {MW{1'b0}};
      column <= {CW{1'b0}};
      level <= {RW{1'b0}};
    end
  end

  // ---- which row of windows is next: what it needs and what it leaves, from the rows before it
  reg signed [YW-1:0] top;  // the first row of the windows that are read
  reg signed [YW-1:0] next_top;  // and of the next ones
  reg signed [RW-1:0] need;  // rows from the first one kept on, for the next row of windows
  reg signed [RW-1:0] leave;  // rows that the next one no longer needs
  reg signed [RW-1:0] have;  // as `level`, by the windows that are read
  wire next_is_last = next_top == LAST_ROW;
  wire signed [YW-1:0] kept = next_top[YW-1] ? {YW{1'b0}} : next_top;
  wire signed [YW-1:0] after = next_top + DOWN;
  wire signed [YW-1:0] after_kept = after[YW-1] ? {YW{1'b0}} : after;
  wire signed [YW-1:0] after_end = next_top + REACH > END ? END : next_top + REACH;
  wire signed [YW-1:0] next_leave = (next_is_last ? END : after_kept) - kept;
  wire signed [YW-1:0] next_need = (next_is_last ? END + FIRST_NEED : after_end) - kept;
  wire may_start = have >= need;

  // ---- a step: words of a window's row, rows of a window, turns, windows
  reg active;
  reg [SW-1:0] span;
  reg [DW-1:0] line;
  reg [TW-1:0] turn_now;
  reg [XW-1:0] window;
  reg [AW-1:0] address_now;
  reg signed [YW-1:0] row;  // of the map
  reg [LW-1:0] place, top_place;  // where it is kept
  reg signed [OW-1:0] offset, left;  // words from the row's beginning; of the window
  wire span_ends = span == LAST_OF_SPAN;
  wire [TURNS-1:0] empty = EMPTY;
  wire sweep_ends = (span_ends && line == LAST_OF_SIZE) || empty[turn_now];
  wire window_ends = sweep_ends && turn_now == LAST_TURN;
  wire row_ends = window_ends && window == LAST_X;
  wire step = active && enable;
  wire switch = may_start && (active ? row_ends && enable : 1'b1);
  wire [LW:0] moved = {1'b0, top_place} + leave[LW:0];
  wire [LW:0] wrapped = moved - PLACES;
  wire [LW-1:0] next_top_place = moved >= PLACES ? wrapped[LW-1:0] : moved[LW-1:0];

  always @(posedge clk) begin
    have <= have + one_row - (switch ? leave : {RW{1'b0}});
    if (step) begin
      span <= sweep_ends || span_ends ? {SW{1'b0}} : span + 1'b1;
      offset <= offset + 1'b1;
      if (span_ends) begin
        line   <= line + 1'b1;
        row    <= row + 1'b1;
        offset <= left;
        if (!row[YW-1]) place <= place == LAST_PLACE ? {LW{1'b0}} : place + 1'b1;
      end
      address_now <= window_ends ? {AW{1'b0}} : address_now + 1'b1;
      if (sweep_ends) begin
        turn_now <= window_ends ? {TW{1'b0}} : turn_now + 1'b1;
        line <= {DW{1'b0}};
        row <= top;
        place <= top_place;
        offset <= left;
      end
      if (window_ends) begin
        window <= row_ends ? {XW{1'b0}} : window + 1'b1;
        left   <= row_ends ? FIRST_OFFSET : left + RIGHT;
        offset <= row_ends ? FIRST_OFFSET : left + RIGHT;
      end
      if (row_ends) active <= 1'b0;
    end
    if (switch) begin
      active <= 1'b1;
      top <= next_top;
      next_top <= next_is_last ? FIRST_ROW : after;
      row <= next_top;
      need <= next_need[RW-1:0];
      leave <= next_leave[RW-1:0];
      top_place <= next_top_place;
      place <= next_top_place;
    end
    if (rst) begin
      active <= 1'b0;
      have <= {RW{1'b0}};
      top <= LAST_ROW;  // the first switch goes to the first row
      next_top <= FIRST_ROW;
      need <= FIRST_NEED[RW-1:0];
      leave <= {RW{1'b0}};
      top_place <= {LW{1'b0}};
      place <= {LW{1'b0}};
      span <= {SW{1'b0}};
      line <= {DW{1'b0}};
      turn_now <= {TW{1'b0}};
      window <= {XW{1'b0}};
      address_now <= {AW{1'b0}};
      offset <= FIRST_OFFSET;
      left <= FIRST_OFFSET;
    end
  end

  // ---- the second register: the addresses
  reg reads, zero, begins_2, ends_2;
  reg [MW-1:0] read_address;
  reg [AW-1:0] address_2;
  reg [TW-1:0] turn_2;
  reg [31:0] base;  // place * PITCH without a multiplier
  wire [31:0] word = base + {{(32 - OW) {offset[OW-1]}}, offset};
  wire unused = &{1'b0, word, wrapped, next_need, next_leave, FIRST_NEED};
  integer i;

  always @* begin
    base = 32'd0;
    for (i = 0; i < LW; i = i + 1) if (place[i]) base = base + (PITCH << i);
  end

  always @(posedge clk) begin
    if (enable) begin
      read_address <= word[MW-1:0];
      zero <= row[YW-1] || row >= END || offset[OW-1] || offset >= ROW_END;
      begins_2 <= span == {SW{1'b0}} && line == {DW{1'b0}};
      ends_2 <= sweep_ends;
      address_2 <= address_now;
      turn_2 <= turn_now;
    end
    if (rst) reads <= 1'b0;
    else if (enable) reads <= active;
    // Rows are released when the last word of them has been read: then the writer may come.
    if (rst) leaving <= {RW{1'b0}};
    else if (switch) leaving <= leave;
    else if (release_now) leaving <= {RW{1'b0}};
  end

  assign release_now = enable || !reads;
  assign address = address_2;
  assign turn = turn_2;

  // ---- the third: the activations
  reg valid_3, zero_3, begins_3, ends_3;
  wire [VALUES*BITS-1:0] read_data;

  fl_ram #(
      .WIDTH(VALUES * BITS),
      .DEPTH(DEPTH),
      .BLOCK(BLOCK)
  ) memory (
      .clk(clk),
      .write(take),
      .write_address(write_address),
      .write_data(in_data),
      .read(enable),
      .read_address(read_address),
      .read_data(read_data)
  );

  always @(posedge clk) begin
    if (enable) begin
      zero_3   <= zero;
      begins_3 <= begins_2;
      ends_3   <= ends_2;
    end
    if (rst) valid_3 <= 1'b0;
    else if (enable) valid_3 <= reads;
  end

  assign valid  = valid_3;
  assign begins = begins_3;
  assign ends   = ends_3;
  assign x      = zero_3 ? {VALUES * BITS{1'b0}} : read_data;
endmodule
