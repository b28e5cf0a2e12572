static void totals(int32_t values, int32_t channels, const int8_t *x, int32_t *sums)
{
    for (int32_t channel = 0; channel < channels; channel++)
        sums[channel] = total(x, values, channel, channels);
}
