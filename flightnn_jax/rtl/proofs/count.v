// fl_count: how many of the bits are 1.
module proof #(
    parameter N = 6,
    parameter BITS = 3
) (
    input  wire [N-1:0] bits,
    output wire         ok
);
  wire [BITS-1:0] count;
  reg [3:0] expected;
  integer i;

  always @* begin
    expected = 0;
    for (i = 0; i < N; i = i + 1) expected = expected + bits[i];
  end

  fl_count #(
      .N(N),
      .BITS(BITS)
  ) unit (
      .bits (bits),
      .count(count)
  );
  assign ok = count == expected;
endmodule
