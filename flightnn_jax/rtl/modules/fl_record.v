// For simulation: writes each word that passes, with the cycle, counted from the end of reset.
//
//   WIDTH  bits of a word
//   FILE   a line for each word: the cycle and the word, both hexadecimal
module fl_record #(
    parameter WIDTH = 8,
    parameter FILE = "record.txt"
) (
    input wire             clk,
    input wire             rst,
    input wire             fires,
    input wire [WIDTH-1:0] data
);
  integer file;
  reg [31:0] cycle;

  initial file = $fopen(FILE, "w");

  always @(posedge clk) begin
    cycle <= rst ? 32'd0 : cycle + 32'd1;
    if (fires && !rst) $fwrite(file, "%h %h\n", cycle, data);
  end
endmodule
