// fl_narrow: of each word the beats leave in order that have channels of the pixel, and no others; the
// next word comes in when none is left or the last one leaves.
module proof #(
    parameter WIDTH = 2,
    parameter IN = 4,
    parameter OUT = 2,
    parameter CHANNELS = 5
) (
    input  wire                clk,
    input  wire                in_valid,
    input  wire [IN*WIDTH-1:0] in_data,
    input  wire                out_ready,
    output wire                ok
);
  localparam PARTS = IN / OUT;
  localparam WORDS = (CHANNELS + IN - 1) / IN;
  localparam NONE = (CHANNELS + OUT - 1) / OUT * OUT;  // behind the last beat of a pixel
  reg started = 1'b0;
  reg [IN*WIDTH-1:0] word;  // the one that leaves
  reg [7:0] channel;  // of the pixel, the first that has not left
  reg [7:0] next;  // the first of the next word
  wire in_ready, out_valid;
  wire [OUT*WIDTH-1:0] out_data;
  wire [7:0] end_of_word = next == 0 ? CHANNELS : next;
  wire any = channel < end_of_word;
  wire [7:0] within = channel % IN;
  wire [IN*WIDTH-1:0] behind = word >> (within * WIDTH);
  wire [OUT*WIDTH-1:0] expected = behind;
  wire [7:0] left = any ? (end_of_word - channel + OUT - 1) / OUT : 0;
  (* hierconn *) wire [IN*WIDTH-1:0] \unit.word ;
  localparam RW = PARTS == 2 ? 2 : $clog2(PARTS - 1) + 1;
  wire [RW-1:0] less = left - 2;
  wire [IN*WIDTH-1:0] gone_from = {IN*WIDTH{1'b1}} << (left * (OUT * WIDTH));
  (* hierconn *) wire [RW-1:0] \unit.left ;
  (* hierconn *) wire [(WORDS>1?$clog2(WORDS):1)-1:0] \unit.number ;

  fl_narrow #(
      .WIDTH(WIDTH),
      .IN(IN),
      .OUT(OUT),
      .CHANNELS(CHANNELS)
  ) unit (
      .clk(clk),
      .rst(!started),
      .in_valid(in_valid),
      .in_ready(in_ready),
      .in_data(in_data),
      .out_valid(out_valid),
      .out_ready(out_ready),
      .out_data(out_data)
  );
  always @(posedge clk) begin
    started <= 1'b1;
    if (!started) begin
      channel <= NONE;
      next <= 0;
    end else if (in_valid && in_ready) begin
      channel <= next;
      next <= next + IN < CHANNELS ? next + IN : 0;
    end else if (out_valid && out_ready) channel <= channel + OUT;
    if (in_valid && in_ready) word <= in_data;
  end
  assign ok = !started || (out_valid == any && (!any || out_data == expected)
      && in_ready == (!any || (channel + OUT >= end_of_word && out_ready))
      && next < CHANNELS && next % IN == 0 && channel % OUT == 0 && channel < CHANNELS + OUT
      && (!any || channel + IN >= end_of_word) && (!any || channel / IN == (end_of_word - 1) / IN)
      && \unit.left == less && (NONE % IN == 0 || \unit.number == next / IN)
      && ((\unit.word ^ behind) & ~gone_from) == 0);
endmodule
