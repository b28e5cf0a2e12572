// fl_results: the beats of each pass leave in order, as many as the pass has, and the next pass comes
// in when none is left or the last one leaves; by induction its registers hold what has not left.
module proof #(
    parameter WIDTH = 2,
    parameter VALUES = 2,
    parameter BEATS = 3,
    parameter REST = 2,
    parameter PASSES = 2
) (
    input  wire                          clk,
    input  wire                          valid,
    input  wire [BEATS*VALUES*WIDTH-1:0] sums,
    input  wire                          out_ready,
    output wire                          ok
);
  localparam LANES = BEATS * VALUES;
  reg started = 1'b0;
  reg [LANES*WIDTH-1:0] pass;  // the one that leaves
  reg [3:0] beats, gone;  // of it
  reg [3:0] number;  // of the next one in its pixel
  wire ready, out_valid;
  wire [VALUES*WIDTH-1:0] out_data;
  wire [LANES*WIDTH-1:0] behind = pass >> (gone * (VALUES * WIDTH));
  wire [VALUES*WIDTH-1:0] expected = behind;
  wire any = gone != beats;
  (* hierconn *) wire [LANES*WIDTH-1:0] \unit.held ;
  localparam BW = BEATS == 1 ? 1 : BEATS == 2 ? 2 : $clog2(BEATS - 1) + 1;
  localparam LESS = BW > 1 ? 2 : 0;
  wire [BW-1:0] left = beats - gone - LESS;
  wire [LANES*WIDTH-1:0] gone_from = {LANES*WIDTH{1'b1}} << ((beats - gone) * (VALUES * WIDTH));
  (* hierconn *) wire [BW-1:0] \unit.left ;
  (* hierconn *) wire [(PASSES>1?$clog2(PASSES):1)-1:0] \unit.pass ;

  fl_results #(
      .LANES(LANES),
      .WIDTH(WIDTH),
      .VALUES(VALUES),
      .BEATS(BEATS),
      .REST(REST),
      .PASSES(PASSES)
  ) unit (
      .clk(clk),
      .rst(!started),
      .valid(valid),
      .ready(ready),
      .sums(sums),
      .out_valid(out_valid),
      .out_ready(out_ready),
      .out_data(out_data)
  );
  always @(posedge clk) begin
    started <= 1'b1;
    if (!started) begin
      beats <= 0;
      gone <= 0;
      number <= 0;
    end else if (valid && ready) begin
      beats <= number + 1 == PASSES ? REST : BEATS;
      gone <= 0;
      number <= number + 1 == PASSES ? 0 : number + 1;
    end else if (out_valid && out_ready) gone <= gone + 1;
    if (valid && ready) pass <= sums;
  end
  assign ok = !started || (out_valid == any && (!any || out_data == expected)
      && ready == (!any || (gone + 1 == beats && out_ready))
      && gone <= beats && beats <= BEATS && number < PASSES
      && \unit.left == left && (REST == BEATS || \unit.pass == number)
      && ((\unit.held ^ behind) & ~gone_from) == 0);
endmodule
