// Verilator: sends images to the top module, with random gaps, and takes its logits, with random
// stalls. Every layer's beats are written by fl_record.
//
//   bench BEATS_FILE BYTES_OF_A_BEAT LOGITS GAPS STALLS SEED PATIENCE MORE [LOGITS_FILE]
//
// GAPS and STALLS are chances in 256 that a cycle sends, or takes, nothing. It ends with 0 when
// LOGITS have come and MORE cycles have gone by, in which beats that no logit needs come to their
// layers; and with 3 when nothing has moved at either end for PATIENCE cycles. With LOGITS_FILE, a
// hexadecimal number a line, the logits are compared, and it ends with 4 if one differs.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

namespace {

uint32_t state = 1;

// Xorshift: the same gaps everywhere.
bool chance(uint32_t of_256) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return ((state >> 8) & 255) < of_256;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 9 && argc != 10) {
    std::fprintf(stderr, "bench FILE BYTES LOGITS GAPS STALLS SEED PATIENCE MORE [LOGITS_FILE]\n");
    return 2;
  }
  std::ifstream file(argv[1], std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), {});
  const size_t beat = std::strtoul(argv[2], nullptr, 10);
  const size_t logits = std::strtoul(argv[3], nullptr, 10);
  const uint32_t gaps = std::strtoul(argv[4], nullptr, 10);
  const uint32_t stalls = std::strtoul(argv[5], nullptr, 10);
  state = std::strtoul(argv[6], nullptr, 10) + 1;
  const size_t patience = std::strtoul(argv[7], nullptr, 10);
  size_t more = std::strtoul(argv[8], nullptr, 10);
  const size_t beats = bytes.size() / beat;
  std::ifstream right_file(argc == 10 ? argv[9] : "");
  std::vector<uint32_t> right;
  for (uint32_t logit; right_file >> std::hex >> logit;) right.push_back(logit);
  size_t wrong = 0;

  VerilatedContext context;
  Vtop top(&context);
  size_t sent = 0, taken = 0, idle = 0, cycle = 0;
  top.rst = 1;
  top.in_valid = 0;
  top.out_ready = 0;
  for (int i = 0; i < 8; ++i) {
    top.clk = i & 1;
    top.eval();
  }
  top.clk = 0;
  top.rst = 0;
  bool offers = false;
  while (idle < patience && (taken < logits || more > 0)) {
    if (taken == logits) --more;
    // What was offered stays until it is taken.
    offers = sent < beats && (offers || !chance(gaps));
    top.in_valid = offers;
    if (offers) std::memcpy(&top.in_data, &bytes[sent * beat], beat);
    top.out_ready = !chance(stalls);
    top.eval();
    const bool in = top.in_valid && top.in_ready;
    const bool out = top.out_valid && top.out_ready;
    idle = in || out ? 0 : idle + 1;
    if (out && argc == 10) wrong += taken >= right.size() || right[taken] != top.out_data;
    sent += in;
    taken += out;
    if (in) offers = false;
    top.clk = 1;
    top.eval();
    top.clk = 0;
    top.eval();
    ++cycle;
  }
  top.final();
  std::printf("%zu beats sent, %zu logits taken, %zu cycles\n", sent, taken, cycle);
  if (taken < logits) std::printf("STOPPED\n");
  else if (wrong) std::printf("WRONG: %zu logits\n", wrong);
  else if (argc == 10) std::puts(logits ? "EQUAL" : "NO IMAGES");
  return taken < logits ? 3 : wrong ? 4 : 0;
}
