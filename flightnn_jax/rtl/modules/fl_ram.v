// A memory with one port to write and one to read, both at the clock's edge.
//
//   WIDTH  bits of a word
//   DEPTH  words
//   BLOCK  1 for block RAM, 0 for distributed memory
//
// What is read while the same word is written is never used.
module fl_ram #(
    parameter WIDTH = 8,
    parameter DEPTH = 16,
    parameter BLOCK = 0,
    parameter AW = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  wire             clk,
    input  wire             write,
    input  wire [   AW-1:0] write_address,
    input  wire [WIDTH-1:0] write_data,
    input  wire             read,
    input  wire [   AW-1:0] read_address,
    output reg  [WIDTH-1:0] read_data
);
  generate
    if (BLOCK != 0) begin : block
      (* ram_style = "block" *) reg [WIDTH-1:0] words[0:DEPTH-1];
      always @(posedge clk) begin
        if (write) words[write_address] <= write_data;
        if (read) read_data <= words[read_address];
      end
    end else begin : distributed
      (* ram_style = "distributed" *) reg [WIDTH-1:0] words[0:DEPTH-1];
      always @(posedge clk) begin
        if (write) words[write_address] <= write_data;
        if (read) read_data <= words[read_address];
      end
    end
  endgenerate
endmodule
