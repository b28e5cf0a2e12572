/* A convolution in groups: each filter reads the channels of its own group alone. */
typedef struct {
    int32_t height, width, channels; /* of the input */
    int32_t size, around, stride;    /* of the window; zeros on each side; steps */
    int32_t out_height, out_width;   /* of the output */
    int32_t filters, group, each;    /* filters; channels and filters of a group */
    Dot *dot;
    const uint8_t *codes;
    const uint8_t *passes; /* codes of a weight, for each filter; 0 for one */
    Affine affine;
    const uint8_t *shift; /* of the activation; 0 where v is the output */
    int32_t slope;        /* by which negative values are shifted further */
} Groups;

/* The sum of a filter over the window whose first row and column these are. */
static int32_t group_window(const Groups *c, const int8_t *x, int32_t top, int32_t left,
                            uint32_t first, int32_t passes)
{
    uint32_t sum = 0;
    for (int32_t pass = 0; pass < passes; pass++)
        for (int32_t y = top; y < top + c->size; y++)
            for (int32_t z = left; z < left + c->size; z++, first += (uint32_t)c->group)
                if (y >= 0 && y < c->height && z >= 0 && z < c->width)
                    sum += c->dot(x + (y * c->width + z) * c->channels, c->group, c->codes, first);
    return number(sum);
}

/* Gives activations or sums; the other of the two is 0. */
static void convolve_groups(const Groups *c, const int8_t *x, int8_t *activations, int32_t *sums)
{
    uint32_t first = 0; /* code of the filter */
    for (int32_t filter = 0; filter < c->filters; filter++) {
        int32_t passes = c->passes ? c->passes[filter] : 1;
        int32_t out = filter;
        const int8_t *own = x + filter / c->each * c->group;
        for (int32_t y = 0; y < c->out_height; y++)
            for (int32_t z = 0; z < c->out_width; z++, out += c->filters) {
                int32_t top = y * c->stride - c->around, left = z * c->stride - c->around;
                int32_t sum = group_window(c, own, top, left, first, passes);
                int32_t v = affine(&c->affine, filter, sum);
                if (c->shift)
                    activations[out] = activate(v, c->shift[filter], c->slope);
                else
                    sums[out] = v;
            }
        first += (uint32_t)(passes * c->size * c->size * c->group);
    }
}
