// fl_elastic: words that move as it says leave in the order in which they came in, none lost and
// none twice, and STEPS of them fit in.
module proof #(
    parameter STEPS = 3,
    parameter WIDTH = 2
) (
    input  wire             clk,
    input  wire             in_valid,
    input  wire [WIDTH-1:0] in_data,
    input  wire             out_ready,
    output wire             ok
);
  reg started = 1'b0;
  reg [7:0] count;
  reg [WIDTH*STEPS-1:0] queue;
  reg [WIDTH*STEPS-1:0] step;  // the last step lowest
  wire in_ready, out_valid;
  wire [STEPS-1:0] enable;
  wire push = in_valid && in_ready;
  wire pop = out_valid && out_ready;
  wire [7:0] left = count - pop;
  wire [WIDTH*STEPS-1:0] rest = pop ? queue >> WIDTH : queue;
  wire [WIDTH*STEPS-1:0] place = {{WIDTH * STEPS{1'b0}}, {WIDTH{1'b1}}} << (left * WIDTH);
  (* hierconn *) wire [STEPS-1:0] \unit.valid ;
  wire [STEPS-1:0] valid = \unit.valid ;
  reg [7:0] found;
  reg same;
  integer i;

  fl_elastic #(
      .STEPS(STEPS)
  ) unit (
      .clk(clk),
      .rst(!started),
      .in_valid(in_valid),
      .in_ready(in_ready),
      .out_valid(out_valid),
      .out_ready(out_ready),
      .enable(enable)
  );
  always @(posedge clk) begin
    started <= 1'b1;
    count <= started ? left + push : 8'd0;
    queue <= push ? (rest & ~place) | ({STEPS{in_data}} & place) : rest;
    for (i = 0; i < STEPS; i = i + 1) begin
      if (enable[i]) begin
        step[(STEPS-1-i)*WIDTH+:WIDTH] <= i == 0 ? in_data : step[(STEPS-i)*WIDTH+:WIDTH];
      end
    end
  end
  always @* begin
    found = 0;
    same = 1'b1;
    for (i = STEPS - 1; i >= 0; i = i - 1) begin
      if (valid[i]) begin
        same = same && step[(STEPS-1-i)*WIDTH+:WIDTH] == ((queue >> (found * WIDTH)) & {WIDTH{1'b1}});
        found = found + 1;
      end
    end
  end
  assign ok = !started || (same && found == count && in_ready == (count != STEPS || out_ready)
      && out_valid == valid[STEPS-1]);
endmodule
