/* The sum of a channel over all positions. */
static int32_t total(const int8_t *x, int32_t values, int32_t channel, int32_t channels)
{
    int32_t sum = 0;
    for (int32_t i = channel; i < values; i += channels)
        sum += x[i];
    return sum;
}
