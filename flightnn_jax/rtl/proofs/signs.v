// fl_signs: the sum becomes the products of DELAY cycles before, of activations -1, 0 and 1 with
// weights -1 and 1, added to itself unless they are the first of their pass.
module proof #(
    parameter VALUES = 2,
    parameter WIDTH = 6,
    parameter LEVELS = 0,
    parameter DELAY = 2
) (
    input  wire                clk,
    input  wire                first,
    input  wire [2*VALUES-1:0] x,
    input  wire [  VALUES-1:0] negative,
    output wire                ok
);
  wire [WIDTH-1:0] sum;
  reg [WIDTH-1:0] sum_before;
  reg first_before;
  reg [WIDTH-1:0] products[0:DELAY];
  reg [LEVELS+3:0] present[0:DELAY];
  integer i;

  // Two bits are a number in two's complement, of which -2 is none that comes.
  always @* begin
    products[0] = 0;
    present[0] = 0;
    for (i = 0; i < VALUES; i = i + 1) begin
      if (x[2*i] && x[2*i+1] == negative[i]) products[0] = products[0] + 1;
      else if (x[2*i]) products[0] = products[0] - 1;
      present[0] = present[0] + x[2*i];
    end
  end
  genvar d;
  generate
    for (d = 1; d <= DELAY; d = d + 1) begin : late
      always @(posedge clk) products[d] <= products[d-1];
      always @(posedge clk) present[d] <= present[d-1];
    end
  endgenerate
  always @(posedge clk) begin
    sum_before <= sum;
    first_before <= first;
  end

  fl_signs #(
      .VALUES(VALUES),
      .WIDTH(WIDTH),
      .LEVELS(LEVELS)
  ) unit (
      .clk(clk),
      .enable(1'b1),
      .first(first),
      .x(x),
      .negative(negative),
      .count(present[DELAY-1]),
      .sum(sum)
  );
  assign ok = sum == (first_before ? products[DELAY] : sum_before + products[DELAY]);
endmodule
