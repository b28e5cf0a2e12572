// fl_activate: clip(even(v, n), -128, 127) of three cycles before, by the sum of docs/integers.md.
module proof #(
    parameter IN = 16,
    parameter LEAST = 4,
    parameter MORE = 2,
    parameter SLOPE = 3
) (
    input  wire                            clk,
    input  wire [                  IN-1:0] v,
    input  wire [(MORE > 0 ? MORE : 1)-1:0] more,
    output wire                            ok
);
  localparam MW = MORE > 0 ? MORE : 1;
  localparam WIDE = IN + LEAST + (1 << MORE) + SLOPE + 2;
  wire [7:0] y;
  reg [IN-1:0] v_1, v_2, v_3;
  reg [MW-1:0] more_2, more_3;  // it comes in a cycle behind v
  wire signed [WIDE-1:0] value = {{(WIDE - IN) {v_3[IN-1]}}, v_3};
  wire [7:0] n = LEAST + (MORE > 0 ? more_3 : 0) + (v_3[IN-1] ? SLOPE : 0);
  wire signed [WIDE-1:0] floor = value >>> n;
  wire signed [WIDE-1:0] half = {{(WIDE - 1) {1'b0}}, 1'b1} << (n - 8'd1);
  wire signed [WIDE-1:0] odd = {{(WIDE - 1) {1'b0}}, floor[0]};
  wire signed [WIDE-1:0] sum = value + half - {{(WIDE - 1) {1'b0}}, 1'b1} + odd;
  wire signed [WIDE-1:0] even = n == 0 ? value : sum >>> n;

  always @(posedge clk) begin
    v_1 <= v;
    v_2 <= v_1;
    v_3 <= v_2;
    more_2 <= more;
    more_3 <= more_2;
  end

  fl_activate #(
      .IN(IN),
      .LEAST(LEAST),
      .MORE(MORE),
      .SLOPE(SLOPE)
  ) unit (
      .clk(clk),
      .enable(3'b111),
      .v(v),
      .more(more),
      .y(y)
  );
  assign ok = y == (even > 127 ? 8'h7f : even < -128 ? 8'h80 : even[7:0]);
endmodule
