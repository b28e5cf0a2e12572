// Beats of IN values to words of OUT values, a multiple of IN; each pixel begins a new word, and the
// places behind its last channel are zero.
//
//   WIDTH  bits of a value
//   IN     values of a beat
//   OUT    values of a word
//   BEATS  beats of a pixel
//
// A word leaves a cycle or more after its last beat came in, and a beat of the next one may come in
// in the cycle in which it leaves.
//
// Proven by Yosys's sat (proofs/widen.v): each word, and when a beat comes in.
module fl_widen #(
    parameter WIDTH = 8,
    parameter IN = 1,
    parameter OUT = 2,
    parameter BEATS = 2
) (
    input  wire                 clk,
    input  wire                 rst,
    input  wire                 in_valid,
    output wire                 in_ready,
    input  wire [ IN*WIDTH-1:0] in_data,
    output wire                 out_valid,
    input  wire                 out_ready,
    output wire [OUT*WIDTH-1:0] out_data
);
  localparam PARTS = OUT / IN;
  localparam PW = PARTS > 1 ? $clog2(PARTS) : 1;
  localparam BW = BEATS > 1 ? $clog2(BEATS) : 1;
  localparam [PW-1:0] LAST_PART = PARTS[PW-1:0] - 1'b1;
  localparam [BW-1:0] LAST_BEAT = BEATS[BW-1:0] - 1'b1;

  reg [OUT*WIDTH-1:0] word;
  reg [PW-1:0] part;
  reg [BW-1:0] beat;
  reg complete;
  wire take = in_valid && in_ready;
  wire ends = part == LAST_PART || beat == LAST_BEAT;
  integer i;

  assign in_ready  = !complete || out_ready;
  assign out_valid = complete;
  assign out_data  = word;

  always @(posedge clk) begin
    if (take) begin
      for (i = 0; i < PARTS; i = i + 1) begin
        if (part == i[PW-1:0]) word[i*IN*WIDTH+:IN*WIDTH] <= in_data;
        else if (part == {PW{1'b0}}) word[i*IN*WIDTH+:IN*WIDTH] <= {IN * WIDTH{1'b0}};
      end
      part <= ends ? {PW{1'b0}} : part + 1'b1;
      beat <= beat == LAST_BEAT ? {BW{1'b0}} : beat + 1'b1;
    end
    complete <= take ? ends : complete && !out_ready;
    if (rst) begin
      part <= {PW{1'b0}};
      beat <= {BW{1'b0}};
      complete <= 1'b0;
    end
  end
endmodule
