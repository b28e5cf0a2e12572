// fl_fifo of three words: a queue. It is full where a queue is, hands on its first word at the latest
// two cycles after one came in, and by induction its memory holds what the queue holds.
module proof #(
    parameter WIDTH = 2
) (
    input  wire             clk,
    input  wire             in_valid,
    input  wire [WIDTH-1:0] in_data,
    input  wire             out_ready,
    output wire             ok
);
  localparam DEPTH = 3;
  reg started = 1'b0;
  reg [WIDTH*DEPTH-1:0] queue;
  reg [2:0] count, waited;
  wire in_ready, out_valid;
  wire [WIDTH-1:0] out_data;
  wire push = in_valid && in_ready;
  wire pop = out_valid && out_ready;
  wire [2:0] left = count - pop;
  wire [WIDTH*DEPTH-1:0] rest = pop ? queue >> WIDTH : queue;
  wire [WIDTH*DEPTH-1:0] place = {{WIDTH * (DEPTH - 1) {1'b0}}, {WIDTH{1'b1}}} << (left * WIDTH);
  (* hierconn *) wire [1:0] \unit.count , \unit.stored , \unit.head , \unit.tail ;
  (* hierconn *) wire \unit.held ;
  (* hierconn *) wire [WIDTH-1:0] \unit.memory.distributed.words[0] ;
  (* hierconn *) wire [WIDTH-1:0] \unit.memory.distributed.words[1] ;
  (* hierconn *) wire [WIDTH-1:0] \unit.memory.distributed.words[2] ;
  wire [WIDTH*DEPTH-1:0] memory = {
    \unit.memory.distributed.words[2] ,
    \unit.memory.distributed.words[1] ,
    \unit.memory.distributed.words[0]
  };
  wire [2:0] stored = \unit.stored ;
  wire [2:0] head = \unit.head ;
  wire [2:0] behind = head + stored;
  wire held = \unit.held ;
  wire [DEPTH-1:0] same;
  genvar i;

  fl_fifo #(
      .WIDTH(WIDTH),
      .DEPTH(DEPTH)
  ) unit (
      .clk(clk),
      .rst(!started),
      .in_valid(in_valid),
      .in_ready(in_ready),
      .in_data(in_data),
      .out_valid(out_valid),
      .out_ready(out_ready),
      .out_data(out_data)
  );
  always @(posedge clk) begin
    started <= 1'b1;
    queue   <= push ? (rest & ~place) | ({DEPTH{in_data}} & place) : rest;
    count   <= started ? left + push : 3'd0;
    waited  <= !started || out_valid || count == 0 ? 3'd0 : waited + 3'd1;
  end
  generate
    for (i = 0; i < DEPTH; i = i + 1) begin : at
      wire [2:0] sum = head + i;
      wire [2:0] address = sum >= DEPTH ? sum - DEPTH : sum;
      wire [2:0] number = i + held;
      wire [WIDTH-1:0] kept = memory >> (address * WIDTH);
      wire [WIDTH-1:0] expected = queue >> (number * WIDTH);
      assign same[i] = i >= stored || kept == expected;
    end
  endgenerate
  assign ok = !started || (in_ready == (count != DEPTH)
      && (!out_valid || (count != 0 && out_data == queue[WIDTH-1:0])) && waited < 2
      && count <= DEPTH && \unit.count == count && count == stored + held && stored <= DEPTH
      && head < DEPTH && \unit.tail == (behind >= DEPTH ? behind - DEPTH : behind)
      && &same && (waited == 0 || held));
endmodule
