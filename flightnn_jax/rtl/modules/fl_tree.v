// The sum of N numbers, each with a bit that is still to be added: a negated number is ~x + 1, and
// every adder takes one of the ones as its carry in.
//
//   N       numbers
//   WIDTH   bits of a number
//   LEVELS  ceil(log2(N))
//
// sum + rest = the sum of all numbers and bits. There is a register behind every second level of
// adders, counted from the last one, so the latency is ceil(LEVELS / 2) enabled cycles.
//
// Proven by Yosys's sat (proofs/tree.v): the sum, for up to five numbers.
module fl_tree #(
    parameter N = 1,
    parameter WIDTH = 15,
    parameter LEVELS = 0
) (
    input  wire                    clk,
    input  wire                    enable,
    input  wire [     N*WIDTH-1:0] numbers,
    input  wire [           N-1:0] ones,
    output wire [WIDTH+LEVELS-1:0] sum,
    output wire                    rest
);
  wire unused = &{1'b0, clk, enable};  // of a single number
  genvar l, i;

  generate
    for (l = 0; l <= LEVELS; l = l + 1) begin : level
      localparam COUNT = (N + (1 << l) - 1) >> l;
      localparam BITS = WIDTH + l;
      wire [COUNT*BITS-1:0] sums;
      wire [COUNT-1:0] bits;
      if (l == 0) begin : leaves
        assign sums = numbers;
        assign bits = ones;
      end else begin : nodes
        localparam BELOW = (N + (1 << (l - 1)) - 1) >> (l - 1);
        wire [COUNT*BITS-1:0] added;
        wire [COUNT-1:0] kept;
        for (i = 0; i < COUNT; i = i + 1) begin : node
          wire [BITS-2:0] a = level[l-1].sums[2*i*(BITS-1)+:BITS-1];
          if (2 * i + 1 < BELOW) begin : pair
            wire [BITS-2:0] b = level[l-1].sums[(2*i+1)*(BITS-1)+:BITS-1];
            assign added[i*BITS+:BITS] = {a[BITS-2], a} + {b[BITS-2], b}
                + {{(BITS - 1) {1'b0}}, level[l-1].bits[2*i]};
            assign kept[i] = level[l-1].bits[2*i+1];
          end else begin : alone
            assign added[i*BITS+:BITS] = {a[BITS-2], a};
            assign kept[i] = level[l-1].bits[2*i];
          end
        end
        if ((LEVELS - l) % 2 == 0) begin : registered
          reg [COUNT*BITS-1:0] sums_r;
          reg [COUNT-1:0] bits_r;
          always @(posedge clk) begin
            if (enable) begin
              sums_r <= added;
              bits_r <= kept;
            end
          end
          assign sums = sums_r;
          assign bits = bits_r;
        end else begin : direct
          assign sums = added;
          assign bits = kept;
        end
      end
    end
  endgenerate

  assign sum  = level[LEVELS].sums;
  assign rest = level[LEVELS].bits;
endmodule
