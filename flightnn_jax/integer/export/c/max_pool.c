/* The largest of each 2x2 square; a row has so many values. */
static int8_t larger(int8_t a, int8_t b)
{
    return a > b ? a : b;
}

static void max_pool(int32_t height, int32_t row, int32_t channels, const int8_t *x, int8_t *out)
{
    for (int32_t y = 0; y < height; y += 2, x += row + row)
        for (int32_t left = 0; left < row; left += channels + channels)
            for (int32_t channel = left; channel < left + channels; channel++) {
                const int8_t *below_it = x + row + channel;
                int8_t above = larger(x[channel], x[channel + channels]);
                *out++ = larger(above, larger(below_it[0], below_it[channels]));
            }
}
