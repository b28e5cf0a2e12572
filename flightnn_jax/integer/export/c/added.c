/* Weights of 1 and -1: a code is one bit, 1 for minus, eight in a byte, the first one the lowest.
   Activations are added or subtracted. */
static uint32_t added(const int8_t *x, int32_t count, const uint8_t *codes, uint32_t first)
{
    uint32_t sum = 0;
    for (int32_t i = 0; i < count; i++) {
        uint32_t at = first + (uint32_t)i;
        uint32_t value = (uint32_t)x[i];
        sum = ((uint32_t)codes[at >> 3] >> (at & 7)) & 1 ? sum - value : sum + value;
    }
    return sum;
}
