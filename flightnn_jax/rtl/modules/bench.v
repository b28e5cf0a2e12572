// Icarus: sends the images of images.hex to the top module, with random gaps, takes the logits, with
// random stalls, and compares them with logits.hex. Every layer's beats are written by fl_record.
// It ends with 0 for EQUAL, 3 for STOPPED and 4 for WRONG.
//
//   VALUES    bytes of a beat
//   BEATS     of all images
//   LOGITS    of all images
//   PATIENCE  cycles without a move at either end after which it gives up
//   MORE      cycles after the last logit, in which beats that no logit needs come to their layers
//
// +gaps=N and +stalls=N are chances in 256 that a cycle sends, or takes, nothing; +seed=N. With
// +images=FILE the images of another file are sent, and their logits printed and not compared.
module bench #(
    parameter VALUES = 1,
    parameter BEATS = 1,
    parameter LOGITS = 1,
    parameter PATIENCE = 100000,
    parameter MORE = 0
);
  reg clk, rst, in_valid, out_ready;
  wire in_ready, out_valid;
  wire [31:0] out_data;
  reg [VALUES*8-1:0] images[0:BEATS];
  reg [31:0] logits[0:LOGITS];
  reg [8*256-1:0] file;
  reg compares;
  integer gaps, stalls, seed, sent, taken, idle, cycle, wrong, more;

  top dut (
      .clk(clk),
      .rst(rst),
      .in_valid(in_valid),
      .in_ready(in_ready),
      .in_data(images[sent]),
      .out_valid(out_valid),
      .out_ready(out_ready),
      .out_data(out_data)
  );

  function integer chance(input integer of_256);
    chance = {24'd0, $random(seed)} % 256 < of_256;
  endfunction

  always #5 clk = !clk;

  initial begin
    if (!$value$plusargs("gaps=%d", gaps)) gaps = 0;
    if (!$value$plusargs("stalls=%d", stalls)) stalls = 0;
    if (!$value$plusargs("seed=%d", seed)) seed = 0;
    compares = !$value$plusargs("images=%s", file);
    if (compares) file = "images.hex";
    if (BEATS > 0) $readmemh(file, images, 0, BEATS - 1);
    if (compares && LOGITS > 0) $readmemh("logits.hex", logits, 0, LOGITS - 1);
    clk = 0;
    rst = 1;
    in_valid = 0;
    out_ready = 0;
    sent = 0;
    taken = 0;
    idle = 0;
    cycle = 0;
    wrong = 0;
    more = MORE;
    repeat (4) @(posedge clk);
    #1 rst = 0;
  end

  // At the falling edge the ends decide; at the rising one what was agreed moves.
  always @(negedge clk) begin
    if (!rst) begin
      in_valid = sent < BEATS && (in_valid || !chance(gaps));
      out_ready = !chance(stalls);
    end
  end

  always @(posedge clk) begin
    if (!rst) begin
      idle = idle + 1;
      cycle = cycle + 1;
      if (out_valid && out_ready) begin
        idle = 0;
        if (!compares) $display("logit %0d: %0d", taken, $signed(out_data));
        else if (out_data !== logits[taken]) begin
          if (wrong < 10) begin
            $display("logit %0d: %0d instead of %0d", taken, $signed(out_data),
                     $signed(logits[taken]));
          end
          wrong = wrong + 1;
        end
        taken = taken + 1;
      end
      if (in_valid && in_ready) begin
        idle = 0;
        sent <= sent + 1;
        in_valid <= 0;
      end
      if (taken == LOGITS) more = more - 1;
      if (more < 0 || idle == PATIENCE) begin
        $display("%0d beats sent, %0d logits taken, %0d wrong, %0d cycles", sent, taken, wrong,
                 cycle);
        if (taken < LOGITS) $display("STOPPED");
        else if (wrong > 0) $display("WRONG");
        else if (LOGITS == 0) $display("NO IMAGES");
        else if (compares) $display("EQUAL");
        $finish_and_return(taken < LOGITS ? 3 : wrong > 0 ? 4 : 0);
      end
    end
  end
endmodule
