// fl_widen: a word has the last beats that came in, the first one lowest and zeros behind them, when
// OUT / IN have come or those of the pixel; it stays until it is taken, and only then a beat waits.
module proof #(
    parameter WIDTH = 2,
    parameter IN = 1,
    parameter OUT = 3,
    parameter BEATS = 5
) (
    input  wire                clk,
    input  wire                in_valid,
    input  wire [IN*WIDTH-1:0] in_data,
    input  wire                out_ready,
    output wire                ok
);
  localparam PARTS = OUT / IN;
  localparam BITS = IN * WIDTH;
  reg started = 1'b0;
  reg [PARTS*BITS-1:0] last;  // beats that came in, the last one lowest
  reg [7:0] count;  // of them in the present word
  reg [7:0] beat;  // of the pixel, the next one
  reg complete;
  wire in_ready, out_valid;
  wire [PARTS*BITS-1:0] out_data;
  wire [PARTS*BITS-1:0] expected;
  wire take = in_valid && in_ready;
  wire [7:0] now = complete ? 1 : count + 1;
  (* hierconn *) wire [PARTS*BITS-1:0] \unit.word ;
  (* hierconn *) wire [(PARTS>1?$clog2(PARTS):1)-1:0] \unit.part ;
  (* hierconn *) wire [(BEATS>1?$clog2(BEATS):1)-1:0] \unit.beat ;
  genvar i;

  fl_widen #(
      .WIDTH(WIDTH),
      .IN(IN),
      .OUT(OUT),
      .BEATS(BEATS)
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
  generate
    for (i = 0; i < PARTS; i = i + 1) begin : at
      wire [PARTS*BITS-1:0] shifted = last >> ((count - 1 - i) * BITS);
      assign expected[i*BITS+:BITS] = i < count ? shifted[BITS-1:0] : {BITS{1'b0}};
    end
  endgenerate
  always @(posedge clk) begin
    started <= 1'b1;
    if (take) last <= {last, in_data};
    if (take) begin
      count <= now;
      beat <= beat + 1 == BEATS ? 0 : beat + 1;
      complete <= now == PARTS || beat + 1 == BEATS;
    end else if (out_valid && out_ready) begin
      count <= 0;
      complete <= 1'b0;
    end
    if (!started) begin
      count <= 0;
      beat <= 0;
      complete <= 1'b0;
    end
  end
  assign ok = !started || (out_valid == complete && (!complete || out_data == expected)
      && in_ready == (!complete || out_ready)
      && beat < BEATS && count <= PARTS && (complete || count < PARTS) && (!complete || count != 0)
      && \unit.part == (complete ? 0 : count) && \unit.beat == beat
      && (count == 0 || \unit.word == expected));
endmodule
