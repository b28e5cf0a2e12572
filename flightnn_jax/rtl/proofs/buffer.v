// fl_buffer: a queue of two words. It is full and empty where a queue is, hands on its first word,
// and by induction its registers hold what the queue holds.
module proof #(
    parameter WIDTH = 2
) (
    input  wire             clk,
    input  wire             in_valid,
    input  wire [WIDTH-1:0] in_data,
    input  wire             out_ready,
    output wire             ok
);
  reg started = 1'b0;
  reg [1:0] count;
  reg [WIDTH-1:0] first, second;
  wire in_ready, out_valid;
  wire [WIDTH-1:0] out_data;
  wire push = in_valid && in_ready;
  wire pop = out_valid && out_ready;
  (* hierconn *) wire \unit.held , \unit.full ;
  (* hierconn *) wire [WIDTH-1:0] \unit.tail ;

  fl_buffer #(
      .WIDTH(WIDTH)
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
    count <= started ? count + push - pop : 2'd0;
    if (push && (count == 0 || (count == 1 && pop))) first <= in_data;
    else if (pop) first <= second;
    if (push) second <= in_data;
  end
  assign ok = !started || (count <= 2
      && in_ready == (count != 2) && out_valid == (count != 0)
      && (count == 0 || out_data == first)
      && \unit.full == (count == 2) && (count != 2 || \unit.tail == second));
endmodule
