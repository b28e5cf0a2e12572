/* The sum of two inputs of one shape, activated. An input is activations that are lifted by so many
   bits for each channel, or, where there is no lift, sums. */
typedef struct {
    int32_t values, channels;
    const uint8_t *lift[2];
    const uint8_t *shift;
} Add;

static uint32_t lifted(const void *x, const uint8_t *lift, int32_t channel, int32_t at)
{
    if (lift)
        return (uint32_t)((const int8_t *)x)[at] << lift[channel];
    return (uint32_t)((const int32_t *)x)[at];
}

static void add(const Add *a, const void *first, const void *second, int8_t *activations)
{
    int32_t channel = 0;
    for (int32_t i = 0; i < a->values; i++) {
        uint32_t v = lifted(first, a->lift[0], channel, i) + lifted(second, a->lift[1], channel, i);
        activations[i] = activate(number(v), a->shift[channel], SLOPE);
        channel = channel + 1 < a->channels ? channel + 1 : 0;
    }
}
