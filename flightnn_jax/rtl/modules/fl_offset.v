// A constant for each place: number `place` of TABLE, the first one in its lowest bits.
//
//   PLACE  bits of a place
//   BITS   of a constant
//
// Proven by Yosys's sat (proofs/offset.v): for four and for sixteen constants.
module fl_offset #(
    parameter PLACE = 1,
    parameter BITS = 1,
    parameter [(1<<PLACE)*BITS-1:0] TABLE = 0
) (
    input  wire [PLACE-1:0] place,
    output wire [ BITS-1:0] value
);
  assign value = TABLE[place*BITS+:BITS];
endmodule
