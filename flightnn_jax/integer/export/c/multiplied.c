/* Weights that are integers from -8 to 7, in two's complement: activations are multiplied. */
static uint32_t multiplied(const int8_t *x, int32_t count, const uint8_t *codes, uint32_t first)
{
    uint32_t sum = 0;
    for (int32_t i = 0; i < count; i++) {
        int32_t weight = (int32_t)(code(codes, first + (uint32_t)i) ^ 8) - 8;
        sum += (uint32_t)(x[i] * weight);
    }
    return sum;
}
