// Two words between two stages, so that no ready depends on a later ready in the same cycle.
//
//   WIDTH  bits of a word
//
// A word that comes in at cycle t can leave at t + 1. A word comes in where fewer than two are held
// at the beginning of the cycle.
//
// Proven by Yosys's sat (proofs/buffer.v): that it is a queue of two words.
module fl_buffer #(
    parameter WIDTH = 8
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
  reg [WIDTH-1:0] head, tail;
  reg held, full;
  wire push = in_valid && !full;
  wire pop = held && out_ready;

  assign in_ready  = !full;
  assign out_valid = held;
  assign out_data  = head;

  always @(posedge clk) begin
    if (!full) tail <= in_data;
    if (!held || out_ready) head <= full ? tail : in_data;
    if (rst) begin
      held <= 1'b0;
      full <= 1'b0;
    end else begin
      held <= push || full || (held && !pop);
      full <= held && !pop && (full || push);
    end
  end
endmodule
