// fl_popcount: sum + rest is how many bits of DELAY cycles before were 1.
module proof #(
    parameter N = 7,
    parameter LEVELS = 0,
    parameter DELAY = 1
) (
    input  wire         clk,
    input  wire [N-1:0] bits,
    output wire         ok
);
  wire [LEVELS+2:0] sum;
  wire rest;
  reg [7:0] expected[0:DELAY];
  integer i;

  always @* begin
    expected[0] = 0;
    for (i = 0; i < N; i = i + 1) expected[0] = expected[0] + bits[i];
  end
  genvar d;
  generate
    for (d = 1; d <= DELAY; d = d + 1) begin : late
      always @(posedge clk) expected[d] <= expected[d-1];
    end
  endgenerate

  fl_popcount #(
      .N(N),
      .LEVELS(LEVELS)
  ) unit (
      .clk(clk),
      .enable(1'b1),
      .bits(bits),
      .sum(sum),
      .rest(rest)
  );
  assign ok = {{(5 - LEVELS) {1'b0}}, sum} + rest == expected[DELAY];
endmodule
