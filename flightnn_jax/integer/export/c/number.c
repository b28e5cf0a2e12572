/* The number whose two's complement these bits are. Sums are of uint32_t, which may wrap around: the
   network's certificate proves that the last of them is within 32 bits. */
static int32_t number(uint32_t bits)
{
    return bits <= INT32_MAX ? (int32_t)bits : -(int32_t)(UINT32_MAX - bits) - 1;
}
