// Values that are brought together at an address of a memory: the largest, or the sum, of all from
// the first to the last one, which is handed on.
//
//   MAXIMUM  1 for the largest, 0 for the sum
//   VALUES   values of a beat
//   IN       bits of a value that comes in
//   OUT      bits of one that goes out: IN for the largest
//   DEPTH    addresses
//   BLOCK    1 for block RAM
//
// `address`, `first` and `last` come with a beat. What was brought together in this cycle is handed
// to a beat of the same address that comes in now. It leaves two cycles or more after it came in.
//
// Proven by Yosys's sat (proofs/reduce.v): what is kept and what is handed on, for two addresses.
module fl_reduce #(
    parameter MAXIMUM = 1,
    parameter VALUES = 1,
    parameter IN = 8,
    parameter OUT = 8,
    parameter DEPTH = 4,
    parameter BLOCK = 0,
    parameter AW = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  wire                  clk,
    input  wire                  rst,
    input  wire                  in_valid,
    output wire                  in_ready,
    input  wire [ VALUES*IN-1:0] in_data,
    input  wire [        AW-1:0] address,
    input  wire                  first,
    input  wire                  last,
    output wire                  out_valid,
    input  wire                  out_ready,
    output wire [VALUES*OUT-1:0] out_data
);
  reg held, first_1, last_1, forward;
  reg [VALUES*IN-1:0] x;
  reg [AW-1:0] address_1;
  reg [VALUES*OUT-1:0] forwarded;
  wire [VALUES*OUT-1:0] stored, earlier, together;
  wire room;
  wire leaves = held && (!last_1 || room);
  wire take = in_valid && in_ready;
  genvar i;

  assign in_ready = !held || !last_1 || room;
  assign earlier   = forward ? forwarded : stored;

  fl_ram #(
      .WIDTH(VALUES * OUT),
      .DEPTH(DEPTH),
      .BLOCK(BLOCK)
  ) memory (
      .clk(clk),
      .write(leaves),
      .write_address(address_1),
      .write_data(together),
      .read(take),
      .read_address(address),
      .read_data(stored)
  );

  generate
    for (i = 0; i < VALUES; i = i + 1) begin : value
      wire signed [IN-1:0] now = x[i*IN+:IN];
      wire signed [OUT-1:0] old = earlier[i*OUT+:OUT];
      wire signed [OUT-1:0] wide = {{(OUT - IN + 1) {now[IN-1]}}, now[IN-2:0]};
      if (MAXIMUM != 0) begin : maximum
        assign together[i*OUT+:OUT] = first_1 || wide > old ? wide : old;
      end else begin : sum
        assign together[i*OUT+:OUT] = (first_1 ? {OUT{1'b0}} : old) + wide;
      end
    end
  endgenerate

  always @(posedge clk) begin
    if (take) begin
      x <= in_data;
      address_1 <= address;
      first_1 <= first;
      last_1 <= last;
      forward <= leaves && address == address_1;
      forwarded <= together;
    end
    if (rst) held <= 1'b0;
    else if (take) held <= 1'b1;
    else if (leaves) held <= 1'b0;
  end

  fl_buffer #(
      .WIDTH(VALUES * OUT)
  ) buffer (
      .clk(clk),
      .rst(rst),
      .in_valid(held && last_1),
      .in_ready(room),
      .in_data(together),
      .out_valid(out_valid),
      .out_ready(out_ready),
      .out_data(out_data)
  );
endmodule
