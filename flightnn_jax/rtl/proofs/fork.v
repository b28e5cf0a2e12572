// fl_fork: all readers take a word, the same one, in the cycle in which it is taken from the source;
// and a reader that waits for a word before it is ready sees it when all others are ready.
module proof #(
    parameter BRANCHES = 3,
    parameter WIDTH = 2
) (
    input  wire                in_valid,
    input  wire [   WIDTH-1:0] in_data,
    input  wire [BRANCHES-1:0] out_ready,
    output wire                ok
);
  wire in_ready;
  wire [BRANCHES-1:0] out_valid;
  wire [BRANCHES*WIDTH-1:0] out_data;
  wire [BRANCHES-1:0] seen;
  genvar i;

  fl_fork #(
      .BRANCHES(BRANCHES),
      .WIDTH(WIDTH)
  ) unit (
      .in_valid(in_valid),
      .in_ready(in_ready),
      .in_data(in_data),
      .out_valid(out_valid),
      .out_ready(out_ready),
      .out_data(out_data)
  );
  generate
    for (i = 0; i < BRANCHES; i = i + 1) begin : reader
      localparam [BRANCHES-1:0] SELF = {{(BRANCHES - 1) {1'b0}}, 1'b1} << i;
      assign seen[i] = in_valid && ((out_ready | SELF) == {BRANCHES{1'b1}});
    end
  endgenerate
  assign ok = out_valid == seen && (out_valid & out_ready) == {BRANCHES{in_valid && in_ready}}
      && out_data == {BRANCHES{in_data}} && in_ready == &out_ready;
endmodule
