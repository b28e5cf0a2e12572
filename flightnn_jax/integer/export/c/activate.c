/* The leaky ReLU: negative values are shifted further. With a slope of 0 they are kept. */
static int8_t activate(int32_t v, int32_t shift, int32_t slope)
{
    return even(v, v < 0 ? shift + slope : shift);
}
