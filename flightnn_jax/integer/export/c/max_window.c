/* The largest of each window, of what lies inside of the image. */
typedef struct {
    int32_t height, width, channels; /* of the input */
    int32_t size, around, stride;    /* of the window; places on each side; steps */
    int32_t out_height, out_width;   /* of the output */
} Windows;

static void max_window(const Windows *w, const int8_t *x, int8_t *out)
{
    for (int32_t y = -w->around; y < w->out_height * w->stride - w->around; y += w->stride)
        for (int32_t z = -w->around; z < w->out_width * w->stride - w->around; z += w->stride)
            for (int32_t channel = 0; channel < w->channels; channel++) {
                int8_t largest = -128;
                for (int32_t row = y < 0 ? 0 : y; row < y + w->size && row < w->height; row++)
                    for (int32_t at = z < 0 ? 0 : z; at < z + w->size && at < w->width; at++) {
                        int8_t value = x[(row * w->width + at) * w->channels + channel];
                        largest = value > largest ? value : largest;
                    }
                *out++ = largest;
            }
}
