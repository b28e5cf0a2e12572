// fl_tree: sum + rest is the sum of all numbers and ones of DELAY cycles before.
module proof #(
    parameter N = 3,
    parameter WIDTH = 6,
    parameter LEVELS = 2,
    parameter DELAY = 1
) (
    input  wire               clk,
    input  wire [N*WIDTH-1:0] numbers,
    input  wire [      N-1:0] ones,
    output wire               ok
);
  localparam SUM = WIDTH + LEVELS;
  wire [SUM-1:0] sum;
  wire rest;
  reg [SUM+1:0] expected[0:DELAY];
  integer i;

  always @* begin
    expected[0] = 0;
    for (i = 0; i < N; i = i + 1) begin
      expected[0] = expected[0] + {{(LEVELS + 2) {numbers[i*WIDTH+WIDTH-1]}}, numbers[i*WIDTH+:WIDTH]};
      expected[0] = expected[0] + ones[i];
    end
  end
  genvar t;
  generate
    for (t = 1; t <= DELAY; t = t + 1) begin : late
      always @(posedge clk) expected[t] <= expected[t-1];
    end
  endgenerate

  fl_tree #(
      .N(N),
      .WIDTH(WIDTH),
      .LEVELS(LEVELS)
  ) unit (
      .clk(clk),
      .enable(1'b1),
      .numbers(numbers),
      .ones(ones),
      .sum(sum),
      .rest(rest)
  );
  assign ok = {{2{sum[SUM-1]}}, sum} + rest == expected[DELAY];
endmodule
