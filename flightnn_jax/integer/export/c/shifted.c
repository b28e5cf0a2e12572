/* Weights that are signed powers of two: a code is 2 exponent + (1 for minus). Activations are
   shifted, then added or subtracted. */
static uint32_t shifted(const int8_t *x, int32_t count, const uint8_t *codes, uint32_t first)
{
    uint32_t sum = 0;
    for (int32_t i = 0; i < count; i++) {
        uint32_t term = code(codes, first + (uint32_t)i);
        uint32_t product = (uint32_t)x[i] << (term >> 1);
        sum = term & 1 ? sum - product : sum + product;
    }
    return sum;
}
