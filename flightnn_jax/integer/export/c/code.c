/* A code of four bits: two are in a byte, the first in the lower half. */
static uint32_t code(const uint8_t *codes, uint32_t at)
{
    return ((uint32_t)codes[at >> 1] >> ((at & 1) << 2)) & 15;
}
