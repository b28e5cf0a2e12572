/* A convolution. Rows of an image or window are counted, and so are the values in a row; each
   window's row is one run of values, less what lies outside of the image. */
typedef struct {
    int32_t height, row;           /* of the input: rows, values in each */
    int32_t size, run, taps;       /* of the window: rows, values in each, values */
    int32_t above, before;         /* rows above the first window's middle, values before it */
    int32_t stride, step, leap;    /* rows between windows, values to the right, values down */
    int32_t out_height, out_width; /* of the output */
    int32_t filters;
    Dot *dot;
    const uint8_t *codes;
    const uint8_t *passes; /* codes of a weight, for each filter; 0 for one */
    Affine affine;
    const uint8_t *shift; /* of the activation; 0 where v is the output */
    int32_t slope;        /* by which negative values are shifted further */
} Convolution;

/* The sum of a filter over the window at a row and a value in it. */
static int32_t window(const Convolution *c, const int8_t *x, int32_t top, int32_t at, int32_t left,
                      uint32_t first, int32_t passes)
{
    int32_t begin = left < 0 ? 0 : left;
    int32_t end = left + c->run > c->row ? c->row : left + c->run;
    uint32_t sum = 0;
    for (int32_t pass = 0; pass < passes; pass++) {
        int32_t line = at;
        for (int32_t y = top; y < top + c->size; y++, line += c->row, first += (uint32_t)c->run)
            if (y >= 0 && y < c->height)
                sum += c->dot(x + line + begin, end - begin, c->codes, first + (uint32_t)(begin - left));
    }
    return number(sum);
}

/* Gives activations or sums; the other of the two is 0. */
static void convolve(const Convolution *c, const int8_t *x, int8_t *activations, int32_t *sums)
{
    uint32_t first = 0; /* code of the filter */
    for (int32_t filter = 0; filter < c->filters; filter++) {
        int32_t passes = c->passes ? c->passes[filter] : 1;
        int32_t out = filter, top = -c->above, at = 0;
        for (int32_t y = 0; y < c->above; y++)
            at -= c->row;
        for (int32_t y = 0; y < c->out_height; y++, top += c->stride, at += c->leap) {
            int32_t left = -c->before;
            for (int32_t z = 0; z < c->out_width; z++, left += c->step, out += c->filters) {
                int32_t sum = window(c, x, top, at, left, first, passes);
                int32_t v = affine(&c->affine, filter, sum);
                if (c->shift)
                    activations[out] = activate(v, c->shift[filter], c->slope);
                else
                    sums[out] = v;
            }
        }
        for (int32_t pass = 0; pass < passes; pass++)
            first += (uint32_t)c->taps;
    }
}
