// The values of a vector in another order: all come in, then all leave.
//
//   WIDTH   bits of a value
//   LENGTH  values of a vector
//   FILE    for each value that comes in the place at which it leaves
module fl_reorder #(
    parameter WIDTH = 32,
    parameter LENGTH = 4,
    parameter FILE = "none.hex"
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
  localparam AW = LENGTH > 1 ? $clog2(LENGTH) : 1;
  localparam [AW-1:0] LAST = LENGTH[AW-1:0] - 1'b1;

  (* ram_style = "distributed" *) reg [WIDTH-1:0] words[0:LENGTH-1];
  (* rom_style = "logic" *) reg [AW-1:0] places[0:LENGTH-1];
  reg [AW-1:0] number;
  reg full;
  wire [AW-1:0] place = places[number];
  wire push = in_valid && !full;
  wire pop = full && out_ready;

  initial $readmemh(FILE, places);

  assign in_ready  = !full;
  assign out_valid = full;
  assign out_data  = words[number];

  always @(posedge clk) begin
    if (push) words[place] <= in_data;
    if (push || pop) number <= number == LAST ? {AW{1'b0}} : number + 1'b1;
    if ((push || pop) && number == LAST) full <= push;
    if (rst) begin
      number <= {AW{1'b0}};
      full   <= 1'b0;
    end
  end
endmodule
