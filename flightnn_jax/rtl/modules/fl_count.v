// How many of up to six bits are 1: each bit of the count is a table of six inputs.
//
//   N     bits
//   BITS  of the count
//
// Proven by Yosys's sat (proofs/count.v): the count, of one to six bits.
module fl_count #(
    parameter N = 6,
    parameter BITS = 3
) (
    input  wire [   N-1:0] bits,
    output wire [BITS-1:0] count
);
  wire [5:0] padded = {{(6 - N) {1'b0}}, bits};
  wire low = ^padded[2:0], low_2 = ^padded[5:3];
  wire high = (padded[0] & padded[1]) | (padded[2] & (padded[0] | padded[1]));
  wire high_2 = (padded[3] & padded[4]) | (padded[5] & (padded[3] | padded[4]));
  wire carry = low & low_2;
  wire [2:0] all = {(high & high_2) | (carry & (high | high_2)), high ^ high_2 ^ carry, low ^ low_2};
  wire unused = &{1'b0, all};
  assign count = all[BITS-1:0];
endmodule
