/* A sum over activations, each times a weight; the weights are codes of four bits, two in a byte,
   the first in the lower half. The sum is modulo 2^32. */
typedef uint32_t Dot(const int8_t *x, int32_t count, const uint8_t *codes, uint32_t first);

static uint32_t code(const uint8_t *codes, uint32_t at)
{
    return ((uint32_t)codes[at >> 1] >> ((at & 1) << 2)) & 15;
}
