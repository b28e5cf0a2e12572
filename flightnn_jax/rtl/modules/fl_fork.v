// One stream to several readers: a word leaves in the cycle in which all of them take it.
//
//   BRANCHES  readers
//   WIDTH     bits of a word
//
// Proven by Yosys's sat (proofs/fork.v): all of this.
module fl_fork #(
    parameter BRANCHES = 2,
    parameter WIDTH = 8
) (
    input  wire                      in_valid,
    output wire                      in_ready,
    input  wire [         WIDTH-1:0] in_data,
    output wire [      BRANCHES-1:0] out_valid,
    input  wire [      BRANCHES-1:0] out_ready,
    output wire [BRANCHES*WIDTH-1:0] out_data
);
  genvar i;

  assign in_ready = &out_ready;
  assign out_data = {BRANCHES{in_data}};

  generate
    for (i = 0; i < BRANCHES; i = i + 1) begin : branch
      // Not its own ready: a reader may wait for valid before it is ready.
      localparam [BRANCHES-1:0] SELF = {{(BRANCHES - 1) {1'b0}}, 1'b1} << i;
      assign out_valid[i] = in_valid && (&(out_ready | SELF));
    end
  endgenerate
endmodule
