// fl_rows: steps go through rows of windows, windows, turns, and what a window covers, in this order,
// one in each enabled cycle from when the rows that it needs have come in; each has the activations of
// its place in its image, or zeros outside. An arbitrary word of the stream is followed for that.
module proof #(
    parameter HEIGHT = 3,
    parameter WIDTH = 2,
    parameter WORDS = 1,
    parameter SIZE = 3,
    parameter STRIDE = 1,
    parameter TURNS = 2,
    parameter EMPTY = 2
) (
    input  wire       clk,
    input  wire       in_valid,
    input  wire [7:0] in_data,
    input  wire       enable,
    input  wire       follow,
    output wire       ok
);
  // Signed, whatever sets the parameters.
  localparam signed [7:0] H = HEIGHT, W = WIDTH, C = WORDS, K = SIZE, S = STRIDE, T = TURNS;
  localparam signed [7:0] PAD = (K - 1) / 2;
  localparam signed [7:0] OUT_HEIGHT = (H + S - 1) / S;
  localparam signed [7:0] OUT_WIDTH = (W + S - 1) / S;
  localparam signed [7:0] ROWS = K + S;
  localparam signed [7:0] PITCH = W * C;
  localparam signed [7:0] SPAN = K * C;
  localparam signed [7:0] SWEEP = K * SPAN;
  localparam signed [7:0] SINGLE = EMPTY % 2 + EMPTY / 2 % 2 + EMPTY / 4 % 2;  // sweeps of one step
  localparam signed [7:0] STEPS = (T - SINGLE) * SWEEP + SINGLE;
  localparam DEPTH = ROWS * PITCH;
  localparam AW = STEPS > 1 ? $clog2(STEPS) : 1;
  localparam TW = T > 1 ? $clog2(T) : 1;
  localparam MW = DEPTH > 1 ? $clog2(DEPTH) : 1;
  localparam RW = $clog2(ROWS) + 2;
  localparam YW = $clog2(H + S + 2 * K) + 2;
  localparam OW = $clog2(PITCH + SPAN + S * C) + 2;

  // ---- rows are counted from the first one of the image that is read
  reg started = 1'b0;
  reg fresh;  // no row of windows has begun
  reg reading;
  reg signed [7:0] rows;  // that have come in
  reg signed [7:0] column;  // words of the next one that have
  reg signed [7:0] window_y, window_x, turn, line, span;  // of the next step
  reg signed [7:0] pending;  // rows that are left when their last word has been read
  wire [T-1:0] empty = EMPTY;
  wire signed [7:0] top = window_y * S - PAD;
  wire signed [7:0] y = top + line;
  wire signed [7:0] left = (window_x * S - PAD) * C;
  wire signed [7:0] word = left + span;
  wire inside = y >= 0 && y < H && word >= 0 && word < PITCH;
  wire begins = span == 0 && line == 0;
  wire line_ends = span == SPAN - 1;
  wire ends = empty[turn] || (line_ends && line == K - 1);
  wire window_ends = ends && turn == T - 1;
  wire row_ends = window_ends && window_x == OUT_WIDTH - 1;
  wire last = window_y == OUT_HEIGHT - 1;
  wire signed [7:0] kept = fresh ? H : top < 0 ? 0 : top;
  wire signed [7:0] next_top = last ? -PAD : top + S;
  wire signed [7:0] next_kept = (last ? H : 0) + (next_top < 0 ? 0 : next_top);
  wire signed [7:0] next_bottom = next_top + K > H ? H : next_top + K;
  wire signed [7:0] next_rows = (last ? H : 0) + next_bottom;
  wire begin_row = rows >= next_rows && (!reading || (row_ends && enable));
  wire wraps = begin_row && last;
  wire signed [7:0] down = wraps ? H : 0;
  reg signed [7:0] earlier;  // steps of the turns before this one
  wire signed [7:0] address = earlier + line * SPAN + span;
  integer i;

  always @* begin
    earlier = 0;
    for (i = 0; i < T; i = i + 1) begin
      if (i < turn) earlier = earlier + (empty[i] ? 1 : SWEEP);
    end
  end

  // ---- the two steps before the last: what was read is in y_2, and x has it one step later
  reg reads, valid_3, inside_2, inside_3, begins_2, begins_3, ends_2, ends_3, same_3, hit_3;
  reg signed [7:0] y_2, word_2, turn_2, address_2;
  reg [7:0] data_3;
  wire in_ready, valid, unit_begins, unit_ends;
  wire [AW-1:0] unit_address;
  wire [TW-1:0] unit_turn;
  wire [7:0] x;
  wire take = in_valid && in_ready;

  // ---- the word that is followed
  reg followed;
  reg signed [7:0] its_row, its_word;
  reg [7:0] data;
  wire alive = followed && its_row >= kept - pending;
  wire hit = alive && reads && inside_2 && y_2 == its_row && word_2 == its_word;

  fl_rows #(
      .HEIGHT(HEIGHT),
      .WIDTH(WIDTH),
      .WORDS(WORDS),
      .SIZE(SIZE),
      .STRIDE(STRIDE),
      .OUT_HEIGHT(OUT_HEIGHT),
      .OUT_WIDTH(OUT_WIDTH),
      .ROWS(ROWS),
      .TURNS(TURNS),
      .EMPTY(EMPTY),
      .STEPS(STEPS)
  ) unit (
      .clk(clk),
      .rst(!started),
      .in_valid(in_valid),
      .in_ready(in_ready),
      .in_data(in_data),
      .enable(enable),
      .address(unit_address),
      .turn(unit_turn),
      .valid(valid),
      .begins(unit_begins),
      .ends(unit_ends),
      .x(x)
  );

  always @(posedge clk) begin
    started <= 1'b1;
    rows <= rows + (take && column == PITCH - 1 ? 1 : 0) - down;
    if (take) column <= column == PITCH - 1 ? 0 : column + 1;
    if (reading && enable) begin
      span <= ends || line_ends ? 0 : span + 1;
      if (ends) line <= 0;
      else if (line_ends) line <= line + 1;
      if (ends) turn <= window_ends ? 0 : turn + 1;
      if (window_ends) window_x <= row_ends ? 0 : window_x + 1;
      if (row_ends) reading <= 1'b0;
    end
    if (begin_row) begin
      fresh <= 1'b0;
      reading <= 1'b1;
      window_y <= last ? 0 : window_y + 1;
      pending <= next_kept - kept;
    end else if (enable || !reads) pending <= 0;
    y_2 <= (enable ? y : y_2) - down;
    if (enable) begin
      reads <= reading;
      word_2 <= word;
      inside_2 <= inside;
      begins_2 <= begins;
      ends_2 <= ends;
      turn_2 <= turn;
      address_2 <= address;
      valid_3 <= reads;
      inside_3 <= inside_2;
      begins_3 <= begins_2;
      ends_3 <= ends_2;
      same_3 <= unit_address == address_2 && unit_turn == turn_2;
      hit_3 <= hit;
      data_3 <= data;
    end
    followed <= alive;
    its_row <= its_row - down;
    if (take && follow && !followed) begin
      followed <= 1'b1;
      its_row <= rows - down;
      its_word <= column;
      data <= in_data;
    end
    if (!started) begin
      fresh <= 1'b1;
      reading <= 1'b0;
      rows <= H;
      column <= 0;
      window_y <= OUT_HEIGHT - 1;
      window_x <= 0;
      turn <= 0;
      line <= 0;
      span <= 0;
      pending <= 0;
      reads <= 1'b0;
      valid_3 <= 1'b0;
      followed <= 1'b0;
    end
  end

  wire outputs = in_ready == (rows - kept + pending < ROWS) && valid == valid_3
      && (!valid || (unit_begins == begins_3 && unit_ends == ends_3 && same_3
          && (inside_3 || x == 0) && (!hit_3 || x == data_3)));

  // ---- how its registers and its memory stand for all this
  (* hierconn *) wire [MW-1:0] \unit.write_address , \unit.read_address ;
  (* hierconn *) wire [(PITCH>1?$clog2(PITCH):1)-1:0] \unit.column ;
  (* hierconn *) wire signed [RW-1:0] \unit.level , \unit.leaving , \unit.need , \unit.leave , \unit.have ;
  (* hierconn *) wire signed [YW-1:0] \unit.top , \unit.next_top , \unit.row ;
  (* hierconn *) wire \unit.active , \unit.reads , \unit.zero , \unit.begins_2 , \unit.ends_2 ;
  (* hierconn *) wire \unit.zero_3 ;
  (* hierconn *) wire [(SPAN>1?$clog2(SPAN):1)-1:0] \unit.span ;
  (* hierconn *) wire [(K>1?$clog2(K):1)-1:0] \unit.line ;
  (* hierconn *) wire [TW-1:0] \unit.turn_now ;
  (* hierconn *) wire [(OUT_WIDTH>1?$clog2(OUT_WIDTH):1)-1:0] \unit.window ;
  (* hierconn *) wire [AW-1:0] \unit.address_now ;
  (* hierconn *) wire [$clog2(ROWS)-1:0] \unit.place , \unit.top_place ;
  (* hierconn *) wire signed [OW-1:0] \unit.offset , \unit.left ;
  (* hierconn *) wire [7:0] \unit.read_data ;
  (* hierconn *) wire [7:0] \unit.memory.distributed.words[0] ;
  (* hierconn *) wire [7:0] \unit.memory.distributed.words[1] ;
  (* hierconn *) wire [7:0] \unit.memory.distributed.words[2] ;
  (* hierconn *) wire [7:0] \unit.memory.distributed.words[3] ;
  (* hierconn *) wire [7:0] \unit.memory.distributed.words[4] ;
  (* hierconn *) wire [7:0] \unit.memory.distributed.words[5] ;
  (* hierconn *) wire [7:0] \unit.memory.distributed.words[6] ;
  (* hierconn *) wire [7:0] \unit.memory.distributed.words[7] ;
  (* hierconn *) wire [7:0] \unit.memory.distributed.words[8] ;
  (* hierconn *) wire [7:0] \unit.memory.distributed.words[9] ;
  (* hierconn *) wire [7:0] \unit.memory.distributed.words[10] ;
  (* hierconn *) wire [7:0] \unit.memory.distributed.words[11] ;
  wire [95:0] memory = {
    \unit.memory.distributed.words[11] ,
    \unit.memory.distributed.words[10] ,
    \unit.memory.distributed.words[9] ,
    \unit.memory.distributed.words[8] ,
    \unit.memory.distributed.words[7] ,
    \unit.memory.distributed.words[6] ,
    \unit.memory.distributed.words[5] ,
    \unit.memory.distributed.words[4] ,
    \unit.memory.distributed.words[3] ,
    \unit.memory.distributed.words[2] ,
    \unit.memory.distributed.words[1] ,
    \unit.memory.distributed.words[0]
  };
  wire signed [7:0] first_place = {1'b0, \unit.top_place };
  wire signed [7:0] row_place = (first_place + (y < 0 ? 0 : y) - kept) % ROWS;
  wire signed [7:0] write_place = (first_place + rows - kept) % ROWS;
  wire signed [7:0] read_place = (first_place + y_2 - kept + ROWS) % ROWS;
  wire signed [7:0] its_place = (first_place + its_row - kept + ROWS) % ROWS;
  wire [6:0] its_address = its_place * PITCH + its_word;
  wire [95:0] its_memory = memory >> (its_address * 8);

  wire counts = column >= 0 && column < PITCH && window_y >= 0 && window_y < OUT_HEIGHT
      && window_x >= 0 && window_x < OUT_WIDTH && turn >= 0 && turn < T
      && line >= 0 && line < K && span >= 0 && span < SPAN
      && (!empty[turn] || (line == 0 && span == 0))
      && (reading || (window_x == 0 && turn == 0 && line == 0 && span == 0))
      && (!fresh || (!reading && !reads && last && pending == 0))
      && pending >= 0 && pending <= ROWS
      && (pending == 0 || (reading && window_x == 0 && turn == 0 && line == 0 && span == 0))
      && (fresh ? rows >= H : rows >= (top + K > H ? H : top + K))
      && rows - kept + pending <= ROWS;
  wire registers = \unit.column == column && \unit.level == rows - kept + pending
      && \unit.have == rows - kept && \unit.leaving == pending
      && \unit.need == next_rows - kept && \unit.leave == next_kept - kept
      && \unit.top == top && \unit.next_top == next_top && \unit.active == reading
      && \unit.span == span && \unit.line == line && \unit.turn_now == turn
      && \unit.window == window_x && \unit.address_now == address
      && \unit.offset == word && \unit.left == left && \unit.top_place < ROWS
      && (!reading || (\unit.row == y && \unit.place == row_place))
      && \unit.write_address == write_place * PITCH + column;
  wire pipeline = \unit.reads == reads && (!reads || (\unit.zero == !inside_2
          && \unit.begins_2 == begins_2 && \unit.ends_2 == ends_2
          && unit_address == address_2 && unit_turn == turn_2
          && (!inside_2 || (y_2 >= kept - pending && y_2 < rows && word_2 >= 0 && word_2 < PITCH
              && \unit.read_address == read_place * PITCH + word_2))))
      && (!valid_3 || (\unit.zero_3 == !inside_3 && (!hit_3 || \unit.read_data == data_3)));
  wire memory_right = !alive || (its_word >= 0 && its_word < PITCH
      && (its_row < rows || (its_row == rows && its_word < column)) && its_memory[7:0] == data);
  assign ok = !started || (outputs && counts && registers && pipeline && memory_right);
endmodule
