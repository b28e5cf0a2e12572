/* The sums, shifted to the left or rounded by a shift to the right. */
static void average(int32_t values, int32_t channels, int32_t left, int32_t right, const int8_t *x,
                    int8_t *activations)
{
    for (int32_t channel = 0; channel < channels; channel++) {
        uint32_t sum = (uint32_t)total(x, values, channel, channels) << left;
        activations[channel] = even(number(sum), right);
    }
}
