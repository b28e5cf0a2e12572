/* The leaky ReLU: negative values are shifted further. */
static int8_t activate(int32_t v, int32_t shift)
{
    return even(v, v < 0 ? shift + SLOPE : shift);
}
