/* v / 2^n rounded down. C leaves the shift of a negative number to the compiler, so there is none. */
static int32_t below(int32_t v, int32_t n)
{
    return v < 0 ? ~(~v >> n) : v >> n;
}

/* v / 2^n rounded to the nearest integer, ties to the even one, within -128 to 127. v has at most 31
   bits, and n is 0 to 30. */
static int8_t even(int32_t v, int32_t n)
{
    if (n > 0)
        v = below(v + ((int32_t)1 << (n - 1)) - 1 + (below(v, n) & 1), n);
    return (int8_t)(v < -128 ? -128 : v > 127 ? 127 : v);
}
