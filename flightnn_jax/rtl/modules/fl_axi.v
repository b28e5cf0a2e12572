// A machine as an AXI4-Stream block with an AXI4-Lite register file, for a Zynq or LiteX design.
//
//   VALUES      bytes of a beat
//   LOGITS      of an image
//   DIGEST      of the network's file: the first 64 bits of its SHA-256
//   IMAGE_BEATS beats of an image
//
// s_axis takes images, a pixel's channels running fastest, m_axis gives logits as signed 32-bit
// numbers in the order of the labels, with tlast at an image's last one. tlast of s_axis is not needed
// and not looked at. Registers, to be read at multiples of 4:
//
//   0  "FLNN" (0x464c4e4e)      4  version of the interface, 1     8  digest, upper half
//   12 digest, lower half       16 beats of an image               20 logits of an image
//   24 images that have left, modulo 2^32
//
// Writes are taken and change nothing.
module fl_axi #(
    parameter VALUES = 1,
    parameter LOGITS = 10,
    parameter IMAGE_BEATS = 1,
    parameter [63:0] DIGEST = 64'd0
) (
    input  wire                aclk,
    input  wire                aresetn,
    input  wire [VALUES*8-1:0] s_axis_tdata,
    input  wire                s_axis_tvalid,
    output wire                s_axis_tready,
    output wire [        31:0] m_axis_tdata,
    output wire                m_axis_tvalid,
    input  wire                m_axis_tready,
    output wire                m_axis_tlast,
    input  wire [         4:0] s_axi_awaddr,
    input  wire                s_axi_awvalid,
    output wire                s_axi_awready,
    input  wire [        31:0] s_axi_wdata,
    input  wire [         3:0] s_axi_wstrb,
    input  wire                s_axi_wvalid,
    output wire                s_axi_wready,
    output wire [         1:0] s_axi_bresp,
    output wire                s_axi_bvalid,
    input  wire                s_axi_bready,
    input  wire [         4:0] s_axi_araddr,
    input  wire                s_axi_arvalid,
    output wire                s_axi_arready,
    output wire [        31:0] s_axi_rdata,
    output wire [         1:0] s_axi_rresp,
    output wire                s_axi_rvalid,
    input  wire                s_axi_rready
);
  localparam LW = LOGITS > 1 ? $clog2(LOGITS) : 1;
  localparam [LW-1:0] LAST = LOGITS[LW-1:0] - 1'b1;

  // ---- streams
  reg rst;
  wire taken, given;
  reg [LW-1:0] logit;
  reg [31:0] images;
  wire gives = m_axis_tvalid && m_axis_tready;

  assign m_axis_tlast = logit == LAST;

  always @(posedge aclk) begin
    rst <= !aresetn;
    if (gives) begin
      logit <= m_axis_tlast ? {LW{1'b0}} : logit + 1'b1;
      if (m_axis_tlast) images <= images + 32'd1;
    end
    if (!aresetn) begin
      logit  <= {LW{1'b0}};
      images <= 32'd0;
    end
  end

  top machine (
      .clk(aclk),
      .rst(rst),
      .in_valid(s_axis_tvalid && !rst),
      .in_ready(taken),
      .in_data(s_axis_tdata),
      .out_valid(given),
      .out_ready(m_axis_tready),
      .out_data(m_axis_tdata)
  );

  assign s_axis_tready = taken && !rst;
  assign m_axis_tvalid = given && !rst;

  // ---- registers: one access at a time
  reg [31:0] read_data;
  reg reads, writes;

  assign s_axi_arready = !reads;
  assign s_axi_rvalid = reads;
  assign s_axi_rdata = read_data;
  assign s_axi_rresp = 2'b00;
  // Address and data of a write are taken in one cycle.
  assign s_axi_awready = !writes && s_axi_awvalid && s_axi_wvalid;
  assign s_axi_wready = s_axi_awready;
  assign s_axi_bvalid = writes;
  assign s_axi_bresp = 2'b00;

  always @(posedge aclk) begin
    if (s_axi_arvalid && !reads) begin
      reads <= 1'b1;
      case (s_axi_araddr[4:2])
        3'd0: read_data <= 32'h464c4e4e;
        3'd1: read_data <= 32'd1;
        3'd2: read_data <= DIGEST[63:32];
        3'd3: read_data <= DIGEST[31:0];
        3'd4: read_data <= IMAGE_BEATS;
        3'd5: read_data <= LOGITS;
        3'd6: read_data <= images;
        default: read_data <= 32'd0;
      endcase
    end else if (s_axi_rready) reads <= 1'b0;
    if (s_axi_awready) writes <= 1'b1;
    else if (s_axi_bready) writes <= 1'b0;
    if (!aresetn) begin
      reads  <= 1'b0;
      writes <= 1'b0;
    end
  end

  wire unused = &{1'b0, s_axi_awaddr, s_axi_wdata, s_axi_wstrb, s_axi_araddr[1:0]};
endmodule
