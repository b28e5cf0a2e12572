/* What turns sums into v: a clip, a product and a bias for each filter. */
typedef struct {
    const int32_t *low, *high; /* 0 where no sum is beyond them */
    const int32_t *multiplier;
    const int32_t *bias;
} Affine;

static int32_t affine(const Affine *a, int32_t filter, int32_t sum)
{
    if (a->low)
        sum = sum < a->low[filter] ? a->low[filter] : sum;
    if (a->high)
        sum = sum > a->high[filter] ? a->high[filter] : sum;
    return sum * a->multiplier[filter] + a->bias[filter];
}
