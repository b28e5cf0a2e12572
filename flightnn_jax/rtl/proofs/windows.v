// fl_windows: of each image all windows leave in raster order, each with the pixels of its image that
// it covers and zeros outside, whenever pixels come in and steps are enabled; behind an image LAG
// enabled cycles pass. By induction its registers and its memory hold the last pixels.
module proof #(
    parameter HEIGHT = 3,
    parameter WIDTH = 3,
    parameter SIZE = 3,
    parameter STRIDE = 1,
    parameter BITS = 1
) (
    input  wire            clk,
    input  wire            in_valid,
    input  wire [BITS-1:0] in_data,
    input  wire            enable,
    output wire            ok
);
  localparam PAD = (SIZE - 1) / 2;
  localparam LAG = PAD * WIDTH + PAD;
  localparam PIXELS = HEIGHT * WIDTH;
  localparam MOVES = PIXELS + LAG;
  localparam OUT_WIDTH = (WIDTH + STRIDE - 1) / STRIDE;
  localparam OUT_HEIGHT = (HEIGHT + STRIDE - 1) / STRIDE;
  localparam NW = $clog2(MOVES + 1);
  localparam SW = STRIDE > 1 ? $clog2(STRIDE) : 1;
  localparam ABOVE = SIZE > 1 ? (SIZE - 1) * BITS : BITS;  // of the pixels above one
  localparam AW = WIDTH > 1 ? $clog2(WIDTH) : 1;

  // ---- what comes in: the last two images
  reg started = 1'b0;
  reg [7:0] index;  // of the next move in its image
  reg bank;  // of its image
  reg earlier;  // there was an image before it
  reg [PIXELS*BITS-1:0] image_0, image_1;
  wire in_ready, valid;
  wire [SIZE*SIZE*BITS-1:0] x;
  wire take = in_valid && in_ready;
  wire push = index >= PIXELS;
  wire move = take || (enable && push);
  wire [PIXELS*BITS-1:0] place = {{PIXELS * BITS{1'b0}}, {BITS{1'b1}}} << (index * BITS);
  wire [PIXELS*BITS-1:0] present = {PIXELS{in_data}} & place;

  // ---- what leaves
  reg [7:0] window_y, window_x;  // the next window
  reg out_bank;  // of its image

  // ---- the pipeline: the last move, and the last one that is in the window
  reg moved, fresh;  // in the last enabled cycle; in the one before
  wire [7:0] last = index == 0 ? MOVES - 1 : index - 1;
  wire last_bank = index == 0 ? !bank : bank;
  wire [7:0] kept = !moved ? last : last == 0 ? MOVES - 1 : last - 1;
  wire kept_bank = moved && last == 0 ? !last_bank : last_bank;
  wire any = earlier || kept_bank == bank;  // an image that came in
  wire [7:0] middle = kept - LAG;
  wire there = any && kept >= LAG;
  wire [7:0] y = middle / WIDTH;
  wire [7:0] at = middle % WIDTH;
  wire [7:0] next = there && kept != MOVES - 1 ? middle + 1 : 0;  // where the next middle is

  (* hierconn *) wire [NW-1:0] \unit.index ;
  (* hierconn *) wire \unit.moved , \unit.middle ;
  (* hierconn *) wire [BITS-1:0] \unit.pixel ;
  (* hierconn *) wire [$clog2(WIDTH+SIZE):0] \unit.at_x ;
  (* hierconn *) wire [$clog2(HEIGHT+SIZE):0] \unit.at_y ;
  (* hierconn *) wire [SW-1:0] \unit.skip_x , \unit.skip_y ;
  (* hierconn *) wire \unit.there ;
  (* hierconn *) wire [SIZE-1:0] \unit.rows , \unit.columns ;
  (* hierconn *) wire [SIZE*SIZE*BITS-1:0] \unit.kept ;
  (* hierconn *) wire [ABOVE-1:0] \unit.lines.narrow.kept_above ;  // where WIDTH is 1
  (* hierconn *) wire [AW-1:0] \unit.lines.wide.address , \unit.lines.wide.written ;
  (* hierconn *) wire [ABOVE-1:0] \unit.lines.above ;
  (* hierconn *) wire [ABOVE-1:0] \unit.lines.wide.memory.distributed.words[0] ;
  (* hierconn *) wire [ABOVE-1:0] \unit.lines.wide.memory.distributed.words[1] ;
  (* hierconn *) wire [ABOVE-1:0] \unit.lines.wide.memory.distributed.words[2] ;
  (* hierconn *) wire [ABOVE-1:0] \unit.lines.wide.memory.distributed.words[3] ;
  wire [4*ABOVE-1:0] memory = {
    \unit.lines.wide.memory.distributed.words[3] ,
    \unit.lines.wide.memory.distributed.words[2] ,
    \unit.lines.wide.memory.distributed.words[1] ,
    \unit.lines.wide.memory.distributed.words[0]
  };
  wire [PIXELS*BITS-1:0] kept_image = kept_bank ? image_1 : image_0;
  wire [PIXELS*BITS-1:0] last_image = last_bank ? image_1 : image_0;
  wire [PIXELS*BITS-1:0] next_image = bank ? image_1 : image_0;
  wire [PIXELS*BITS-1:0] out_image = out_bank ? image_1 : image_0;
  wire last_any = earlier || last_bank == bank;
  wire [SIZE*SIZE-1:0] right, same, known;
  wire [SIZE-1:0] flags, lines, cells;
  genvar r, c, k;

  fl_windows #(
      .BITS(BITS),
      .HEIGHT(HEIGHT),
      .WIDTH(WIDTH),
      .SIZE(SIZE),
      .STRIDE(STRIDE)
  ) unit (
      .clk(clk),
      .rst(!started),
      .in_valid(in_valid),
      .in_ready(in_ready),
      .in_data(in_data),
      .enable(enable),
      .valid(valid),
      .x(x)
  );
  generate
    for (r = 0; r < SIZE; r = r + 1) begin : row
      for (c = 0; c < SIZE; c = c + 1) begin : column
        // What leaves, by the numbers of windows alone.
        wire [7:0] of_y = window_y * STRIDE + r - PAD;
        wire [7:0] of_x = window_x * STRIDE + c - PAD;
        wire inside = of_y < HEIGHT && of_x < WIDTH;  // -1 is 255
        wire [PIXELS*BITS-1:0] seen = out_image >> ((of_y * WIDTH + of_x) * BITS);
        assign right[r*SIZE+c] = x[(r*SIZE+c)*BITS+:BITS] == (inside ? seen[BITS-1:0] : {BITS{1'b0}});
        // What is held: the pixel of so many moves before.
        localparam BACK = (SIZE - 1 - c) + (SIZE - 1 - r) * WIDTH;
        wire [7:0] moved_in = kept - BACK;
        wire [PIXELS*BITS-1:0] was = kept_image >> (moved_in * BITS);
        assign same[r*SIZE+c] = !any || kept < BACK || moved_in >= PIXELS
            || \unit.kept [(c*SIZE+r)*BITS+:BITS] == was[BITS-1:0];
      end
      wire [7:0] flag_y = y + r - PAD;
      wire [7:0] flag_x = at + r - PAD;
      assign flags[r] = !there || (\unit.rows [r] == (flag_y < HEIGHT) && \unit.columns [r] == (flag_x < WIDTH));
    end
    if (SIZE == 1) begin : alone
      assign lines = 1'b1;
      assign cells = 1'b1;
    end else if (WIDTH == 1) begin : narrow
      // Its register has the pixels above the last one in the window.
      for (r = 0; r < SIZE - 1; r = r + 1) begin : row
        wire [7:0] moved_in = kept - (SIZE - 2 - r);
        wire [PIXELS*BITS-1:0] was = kept_image >> (moved_in * BITS);
        assign lines[r] = !any || kept < SIZE - 2 - r || moved_in >= PIXELS
            || \unit.lines.narrow.kept_above [r*BITS+:BITS] == was[BITS-1:0];
      end
      assign lines[SIZE-1] = 1'b1;
      assign cells = {SIZE{1'b1}};
    end else begin : wide
      wire [7:0] pointer = \unit.lines.wide.address ;
      wire [WIDTH-1:0] held;
      for (r = 0; r < SIZE - 1; r = r + 1) begin : row
        // What was read for the last move.
        localparam BACK = (SIZE - 1 - r) * WIDTH;
        wire [7:0] moved_in = last - BACK;
        wire [PIXELS*BITS-1:0] was = last_image >> (moved_in * BITS);
        assign lines[r] = !moved || !last_any || last < BACK || moved_in >= PIXELS
            || \unit.lines.above [r*BITS+:BITS] == was[BITS-1:0];
      end
      for (k = 0; k < WIDTH; k = k + 1) begin : cell
        // A word of the memory, which was written for the move so many before the next one.
        wire [7:0] back = pointer > k ? pointer - k : pointer + WIDTH - k;
        wire [SIZE-2:0] fine;
        for (r = 0; r < SIZE - 1; r = r + 1) begin : line
          wire [7:0] moved_in = index - back - (SIZE - 2 - r) * WIDTH;
          wire [PIXELS*BITS-1:0] was = next_image >> (moved_in * BITS);
          assign fine[r] = (moved && back == 1) || index < back + (SIZE - 2 - r) * WIDTH
              || moved_in >= PIXELS
              || memory[k*ABOVE+r*BITS+:BITS] == was[BITS-1:0];
        end
        assign held[k] = &fine;
      end
      assign lines[SIZE-1] = pointer < WIDTH
          && (!moved || \unit.lines.wide.written == (pointer == 0 ? WIDTH - 1 : pointer - 1));
      assign cells = {SIZE{&held}};
    end
  endgenerate
  always @(posedge clk) begin
    started <= 1'b1;
    if (move) begin
      index <= index + 1 == MOVES ? 0 : index + 1;
      if (index + 1 == MOVES) begin
        bank <= !bank;
        earlier <= 1'b1;
      end
    end
    if (take && !bank) image_0 <= (image_0 & ~place) | present;
    if (take && bank) image_1 <= (image_1 & ~place) | present;
    if (enable) begin
      moved <= move;
      fresh <= moved;
      if (valid) begin
        window_x <= window_x + 1 == OUT_WIDTH ? 0 : window_x + 1;
        if (window_x + 1 == OUT_WIDTH) window_y <= window_y + 1 == OUT_HEIGHT ? 0 : window_y + 1;
        if (window_x + 1 == OUT_WIDTH && window_y + 1 == OUT_HEIGHT) out_bank <= !out_bank;
      end
    end
    if (!started) begin
      index <= 0;
      bank <= 1'b0;
      earlier <= 1'b0;
      moved <= 1'b0;
      fresh <= 1'b0;
      window_y <= 0;
      window_x <= 0;
      out_bank <= 1'b0;
    end
  end

  // The next window is the first one at or behind the places that have passed.
  localparam LAST = (OUT_HEIGHT - 1) * STRIDE * WIDTH + (OUT_WIDTH - 1) * STRIDE;
  wire here = fresh && there && y % STRIDE == 0 && at % STRIDE == 0;
  wire [7:0] passed = here ? middle : middle + 1;
  wire over = there && passed > LAST;
  wire [7:0] position = window_y * STRIDE * WIDTH + window_x * STRIDE;
  wire [7:0] before = window_x != 0 ? position - STRIDE
      : (window_y - 1) * STRIDE * WIDTH + (OUT_WIDTH - 1) * STRIDE;
  wire in_order = there && !over
      ? out_bank == kept_bank && position >= passed && (position == 0 || before < passed)
      : position == 0 && out_bank == (any ? kept_bank ^ over : bank);
  wire [PIXELS*BITS-1:0] was_last = last_image >> (last * BITS);
  assign ok = !started || (in_ready == (enable && index < PIXELS)
      && valid == here && (!valid || &right)
      && index < MOVES && \unit.index == index && \unit.moved == moved
      && (!moved || \unit.middle == (last >= LAG))
      && (!moved || last >= PIXELS || \unit.pixel == was_last[BITS-1:0])
      && \unit.at_x == next % WIDTH && \unit.at_y == next / WIDTH
      && \unit.skip_x == next % WIDTH % STRIDE && \unit.skip_y == next / WIDTH % STRIDE
      && &same && &flags && &lines && &cells
      && window_y < OUT_HEIGHT && window_x < OUT_WIDTH && in_order);
endmodule
