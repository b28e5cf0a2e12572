// How many of N bits are 1.
//
//   N       bits
//   LEVELS  ceil(log2(ceil(N / 7)))
//
// Groups of seven bits: six are counted, which takes three tables of six inputs, and the seventh is
// a carry in of the tree of adders behind the groups. There is a register behind the groups.
// sum + rest, which is at most 7 * 2^LEVELS, has what came in 1 + ceil(LEVELS / 2) enabled cycles
// before.
//
// Proven by Yosys's sat (proofs/popcount.v): the sum, for up to 15 bits.
module fl_popcount #(
    parameter N = 1,
    parameter LEVELS = 0
) (
    input  wire              clk,
    input  wire              enable,
    input  wire [     N-1:0] bits,
    output wire [LEVELS+2:0] sum,
    output wire              rest
);
  localparam GROUPS = (N + 6) / 7;

  wire [7*GROUPS-1:0] padded;
  wire [4*GROUPS-1:0] counts_now;
  wire [GROUPS-1:0] ones_now;
  reg [4*GROUPS-1:0] counts;
  reg [GROUPS-1:0] ones;
  wire unused;
  genvar i;

  generate
    for (i = 0; i < 7 * GROUPS; i = i + 1) begin : place
      if (i < N) begin : bit_of
        assign padded[i] = bits[i];
      end else begin : none
        assign padded[i] = 1'b0;
      end
    end
    for (i = 0; i < GROUPS; i = i + 1) begin : group
      wire a = padded[7*i], b = padded[7*i+1], c = padded[7*i+2];
      wire d = padded[7*i+3], e = padded[7*i+4], f = padded[7*i+5];
      wire low = a ^ b ^ c, low_2 = d ^ e ^ f;
      wire high = (a & b) | (c & (a | b)), high_2 = (d & e) | (f & (d | e));
      wire carry = low & low_2;
      assign counts_now[4*i+:4] = {
        1'b0, (high & high_2) | (carry & (high | high_2)), high ^ high_2 ^ carry, low ^ low_2
      };
      assign ones_now[i] = padded[7*i+6];
    end
  endgenerate

  always @(posedge clk) begin
    if (enable) begin
      counts <= counts_now;
      ones   <= ones_now;
    end
  end

  fl_tree #(
      .N(GROUPS),
      .WIDTH(4),
      .LEVELS(LEVELS)
  ) tree (
      .clk(clk),
      .enable(enable),
      .numbers(counts),
      .ones(ones),
      .sum({unused, sum}),
      .rest(rest)
  );
endmodule
