/* The same values in the same order. */
static void flatten(int32_t values, const int8_t *x, int8_t *out)
{
    for (int32_t i = 0; i < values; i++)
        out[i] = x[i];
}
