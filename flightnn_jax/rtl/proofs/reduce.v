// fl_reduce: with each beat the largest, or the sum, of its address is brought up to date, and with
// the last one handed on, in order. A beat that is not the first of its address comes behind one.
module proof #(
    parameter MAXIMUM = 1,
    parameter IN = 3,
    parameter OUT = 3
) (
    input  wire          clk,
    input  wire          in_valid,
    input  wire [IN-1:0] in_data,
    input  wire          address,
    input  wire          first,
    input  wire          last,
    input  wire          out_ready,
    output wire          ok
);
  reg started = 1'b0;
  reg lawful;
  reg [1:0] known;
  reg signed [OUT-1:0] at_0, at_1;
  reg [1:0] count;  // of the queue of what is handed on
  reg [3*OUT-1:0] queue;
  wire in_ready, out_valid;
  wire [OUT-1:0] out_data;
  wire push = in_valid && in_ready;
  wire pop = out_valid && out_ready;
  wire signed [OUT-1:0] now = {{(OUT - IN + 1) {in_data[IN-1]}}, in_data[IN-2:0]};
  wire signed [OUT-1:0] old = address ? at_1 : at_0;
  wire signed [OUT-1:0] together =
      first ? now : MAXIMUM == 0 ? old + now : now > old ? now : old;
  wire [1:0] left = count - pop;
  wire [3*OUT-1:0] rest = pop ? queue >> OUT : queue;
  wire [3*OUT-1:0] place = {{2 * OUT{1'b0}}, {OUT{1'b1}}} << (left * OUT);
  (* hierconn *) wire \unit.held , \unit.address_1 , \unit.first_1 , \unit.last_1 ;
  (* hierconn *) wire [OUT-1:0] \unit.together , \unit.buffer.tail ;
  (* hierconn *) wire \unit.buffer.held , \unit.buffer.full ;
  (* hierconn *) wire [OUT-1:0] \unit.memory.distributed.words[0] ;
  (* hierconn *) wire [OUT-1:0] \unit.memory.distributed.words[1] ;
  wire held = \unit.held ;
  wire here = \unit.address_1 ;
  wire full = \unit.buffer.full ;
  wire any = \unit.buffer.held ;
  wire ends = held && \unit.last_1 ;
  wire [1:0] buffered = full ? 2'd2 : {1'b0, any};

  fl_reduce #(
      .MAXIMUM(MAXIMUM),
      .VALUES(1),
      .IN(IN),
      .OUT(OUT),
      .DEPTH(2)
  ) unit (
      .clk(clk),
      .rst(!started),
      .in_valid(in_valid),
      .in_ready(in_ready),
      .in_data(in_data),
      .address(address),
      .first(first),
      .last(last),
      .out_valid(out_valid),
      .out_ready(out_ready),
      .out_data(out_data)
  );
  always @(posedge clk) begin
    started <= 1'b1;
    if (!started) begin
      lawful <= 1'b1;
      known <= 2'b00;
      count <= 2'd0;
    end else begin
      count <= left + (push && last);
      if (push) begin
        lawful <= lawful && (first || known[address]);
        known[address] <= known[address] || first;
      end
    end
    if (push && address) at_1 <= together;
    if (push && !address) at_0 <= together;
    queue <= push && last ? (rest & ~place) | ({3{together}} & place) : rest;
  end
  assign ok = !started || !lawful || (
      (!known[0] || (held && !here) || \unit.memory.distributed.words[0] == at_0)
      && (!known[1] || (held && here) || \unit.memory.distributed.words[1] == at_1)
      && (!held || (known[here] && \unit.together == (here ? at_1 : at_0)))
      && (any || !full) && count == buffered + ends
      && (!any || out_data == queue[OUT-1:0])
      && (!full || \unit.buffer.tail == queue[2*OUT-1:OUT])
      && (!ends || \unit.together == ((queue >> (buffered * OUT)) & {OUT{1'b1}}))
      && out_valid == any);
endmodule
