// Constants in a hexadecimal file, read at the clock's edge.
//
//   WIDTH  bits of a word
//   DEPTH  words
//   BLOCK  1 for block RAM, 0 for tables
//   FILE   one word a line
module fl_rom #(
    parameter WIDTH = 8,
    parameter DEPTH = 16,
    parameter BLOCK = 0,
    parameter FILE = "none.hex",
    parameter AW = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  wire             clk,
    input  wire             read,
    input  wire [   AW-1:0] address,
    output reg  [WIDTH-1:0] data
);
  generate
    if (BLOCK != 0) begin : block
      (* rom_style = "block", ram_style = "block" *) reg [WIDTH-1:0] words[0:DEPTH-1];
      initial $readmemh(FILE, words);
      always @(posedge clk) if (read) data <= words[address];
    end else begin : tables
      // "logic" is what Yosys calls it: it knows no distributed memory without a port to write.
      (* rom_style = "logic" *) reg [WIDTH-1:0] words[0:DEPTH-1];
      initial $readmemh(FILE, words);
      always @(posedge clk) if (read) data <= words[address];
    end
  endgenerate
endmodule
