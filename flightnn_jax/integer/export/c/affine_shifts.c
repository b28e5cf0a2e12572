/* What turns sums into v: a clip, shifts and additions in place of a product, and a bias. */
typedef struct {
    const int32_t *low, *high; /* 0 where no sum is beyond them */
    const uint8_t *powers;     /* of all filters their first, second, ..: 2 exponent + (1 for minus) */
    int32_t count;             /* powers of a filter; those that are left out are NO_POWER */
    int32_t filters;
    const int32_t *bias;
} Affine;

enum { NO_POWER = 64 };

static int32_t affine(const Affine *a, int32_t filter, int32_t sum)
{
    if (a->low)
        sum = sum < a->low[filter] ? a->low[filter] : sum;
    if (a->high)
        sum = sum > a->high[filter] ? a->high[filter] : sum;
    uint32_t v = (uint32_t)a->bias[filter];
    int32_t at = filter;
    for (int32_t i = 0; i < a->count; i++, at += a->filters) {
        uint32_t power = a->powers[at];
        if (power != NO_POWER) {
            uint32_t product = (uint32_t)sum << (power >> 1);
            v = power & 1 ? v - product : v + product;
        }
    }
    return number(v);
}
