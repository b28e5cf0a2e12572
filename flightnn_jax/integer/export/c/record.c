#ifdef FLIGHTNN_MAIN
#include <stdio.h>

/* What every layer gives: written to standard output, a sum as four bytes, the lowest first; and the
   CRC-32 of these bytes. */
static int layers_done, writes;
static uint32_t crcs[LAYERS];

static uint32_t byte(uint32_t crc, uint32_t value)
{
    if (writes)
        putchar((int)(value & 255));
    crc ^= value & 255;
    for (int bit = 0; bit < 8; bit++)
        crc = crc & 1 ? (crc >> 1) ^ 0xedb88320u : crc >> 1;
    return crc;
}

static void record(const void *values, int32_t count, int is_sums)
{
    uint32_t crc = 0xffffffffu;
    for (int32_t i = 0; i < count; i++) {
        uint32_t value = is_sums ? (uint32_t)((const int32_t *)values)[i] : ((const uint8_t *)values)[i];
        for (int end = is_sums ? 4 : 1; end > 0; end--, value >>= 8)
            crc = byte(crc, value);
    }
    crcs[layers_done++] = ~crc;
}

#define FLIGHTNN_LAYER(name, values, count, is_sums) record(values, count, is_sums)
#elif !defined FLIGHTNN_LAYER
#define FLIGHTNN_LAYER(name, values, count, is_sums) ((void)0)
#endif
