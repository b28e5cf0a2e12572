// fl_offset: number `place` of the table.
module proof #(
    parameter PLACE = 2,
    parameter BITS = 3,
    parameter [(1<<PLACE)*BITS-1:0] TABLE = 0
) (
    input  wire [PLACE-1:0] place,
    output wire             ok
);
  wire [BITS-1:0] value;
  wire [(1<<PLACE)-1:0] right;
  genvar i;

  generate
    for (i = 0; i < 1 << PLACE; i = i + 1) begin : number
      assign right[i] = place != i || value == TABLE[i*BITS+:BITS];
    end
  endgenerate

  fl_offset #(
      .PLACE(PLACE),
      .BITS (BITS),
      .TABLE(TABLE)
  ) unit (
      .place(place),
      .value(value)
  );
  assign ok = &right;
endmodule
