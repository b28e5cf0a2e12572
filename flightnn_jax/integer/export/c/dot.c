/* A sum over activations, each times a weight whose code stands at first, first + 1, .. The sum is
   modulo 2^32. */
typedef uint32_t Dot(const int8_t *x, int32_t count, const uint8_t *codes, uint32_t first);
