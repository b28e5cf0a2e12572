/* A matrix and a bias. */
typedef struct {
    int32_t inputs, units;
    Dot *dot;
    const uint8_t *codes;
    const uint8_t *passes; /* codes of a weight, for each unit; 0 for one */
    const int32_t *bias;
} Dense;

static void dense(const Dense *d, const int8_t *x, int32_t *sums)
{
    uint32_t first = 0;
    for (int32_t unit = 0; unit < d->units; unit++) {
        uint32_t sum = (uint32_t)d->bias[unit];
        int32_t passes = d->passes ? d->passes[unit] : 1;
        for (int32_t pass = 0; pass < passes; pass++, first += (uint32_t)d->inputs)
            sum += d->dot(x, d->inputs, d->codes, first);
        sums[unit] = number(sum);
    }
}
