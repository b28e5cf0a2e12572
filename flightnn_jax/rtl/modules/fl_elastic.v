// The valid bits of a pipeline whose words close up: a step moves where a later one is empty or the
// last one leaves, so that STEPS words fit in while nothing leaves.
//
//   STEPS  registers that a word goes through
//
// enable[i] says that step i takes what stands before it. A word that comes in at cycle t can leave
// at t + STEPS.
//
// Proven by Yosys's sat (proofs/elastic.v): that words keep their order and none is lost, for 3 and
// 7 steps.
module fl_elastic #(
    parameter STEPS = 2
) (
    input  wire             clk,
    input  wire             rst,
    input  wire             in_valid,
    output wire             in_ready,
    output wire             out_valid,
    input  wire             out_ready,
    output wire [STEPS-1:0] enable
);
  reg [STEPS-1:0] valid;
  genvar i;

  assign in_ready  = enable[0];
  assign out_valid = valid[STEPS-1];

  generate
    for (i = 0; i < STEPS; i = i + 1) begin : step
      assign enable[i] = out_ready || !(&valid[STEPS-1:i]);
      if (i == 0) begin : first
        always @(posedge clk) begin
          if (rst) valid[i] <= 1'b0;
          else if (enable[i]) valid[i] <= in_valid;
        end
      end else begin : later
        always @(posedge clk) begin
          if (rst) valid[i] <= 1'b0;
          else if (enable[i]) valid[i] <= valid[i-1];
        end
      end
    end
  endgenerate
endmodule
