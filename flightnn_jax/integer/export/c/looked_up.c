/* Weights that are numbers of levels: codes are the number of levels less 1, the levels in two's
   complement, and then numbers of as few bits as these levels need, the first one the lowest. A
   byte more stands behind them. Activations are multiplied with levels. */
static uint32_t looked_up(const int8_t *x, int32_t count, const uint8_t *codes, uint32_t first)
{
    const uint8_t *levels = codes + 1, *numbers = levels + codes[0] + 1;
    uint32_t bits = 1, sum = 0;
    while ((uint32_t)codes[0] >> bits)
        bits++;
    for (int32_t i = 0; i < count; i++) {
        uint32_t at = (first + (uint32_t)i) * bits;
        uint32_t two = numbers[at >> 3] | (uint32_t)numbers[(at >> 3) + 1] << 8;
        uint32_t level = levels[two >> (at & 7) & (((uint32_t)1 << bits) - 1)];
        sum += (uint32_t)(x[i] * ((int32_t)(level ^ 128) - 128));
    }
    return sum;
}
