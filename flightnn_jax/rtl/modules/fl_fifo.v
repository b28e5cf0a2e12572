// A queue of exactly DEPTH words, which keeps the skip of a residual block.
//
//   WIDTH  bits of a word
//   DEPTH  words, 1 or more
//   BLOCK  1 for block RAM, 0 for distributed memory
//
// A word that comes in at cycle t can leave at t + 2. A word comes in where fewer than DEPTH are held
// at the beginning of the cycle.
//
// Proven by Yosys's sat (proofs/fifo.v): that it is a queue, for three words, and hands a word on
// two cycles after it came in at the latest.
module fl_fifo #(
    parameter WIDTH = 8,
    parameter DEPTH = 16,
    parameter BLOCK = 0
) (
    input  wire             clk,
    input  wire             rst,
    input  wire             in_valid,
    output wire             in_ready,
    input  wire [WIDTH-1:0] in_data,
    output wire             out_valid,
    input  wire             out_ready,
    output wire [WIDTH-1:0] out_data
);
  localparam AW = DEPTH > 1 ? $clog2(DEPTH) : 1;
  localparam CW = $clog2(DEPTH + 1);
  localparam [AW-1:0] LAST = DEPTH[AW-1:0] - 1'b1;
  localparam [CW-1:0] MOST = DEPTH[CW-1:0];

  reg [AW-1:0] head, tail;
  reg [CW-1:0] count;  // words in all
  reg [CW-1:0] stored;  // words that are not yet in the output register
  reg held;
  wire push = in_valid && in_ready;
  wire pop = held && out_ready;
  wire load = (stored != 0) && (!held || out_ready);

  assign in_ready  = count != MOST;
  assign out_valid = held;

  fl_ram #(
      .WIDTH(WIDTH),
      .DEPTH(DEPTH),
      .BLOCK(BLOCK)
  ) memory (
      .clk(clk),
      .write(push),
      .write_address(tail),
      .write_data(in_data),
      .read(load),
      .read_address(head),
      .read_data(out_data)
  );

  always @(posedge clk) begin
    if (push) tail <= tail == LAST ? {AW{1'b0}} : tail + 1'b1;
    if (load) head <= head == LAST ? {AW{1'b0}} : head + 1'b1;
    if (push != pop) count <= push ? count + 1'b1 : count - 1'b1;
    if (push != load) stored <= push ? stored + 1'b1 : stored - 1'b1;
    held <= load || (held && !pop);
    if (rst) begin
      head   <= {AW{1'b0}};
      tail   <= {AW{1'b0}};
      count  <= {CW{1'b0}};
      stored <= {CW{1'b0}};
      held   <= 1'b0;
    end
  end
endmodule
