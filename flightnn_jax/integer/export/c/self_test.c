#ifdef FLIGHTNN_MAIN
enum { GOLDEN = $count };
static const char *const names[LAYERS] = {
    $names,
};
static const uint8_t golden_images[][FL_${NAME}_IMAGE_BYTES] = {
    $images,
};
static const uint32_t golden_crcs[][LAYERS] = {
    $crcs,
};

/* Without arguments: runs the golden images, and compares the CRC-32 of every layer. With one: reads
   images, byte by byte, from standard input, and writes all that every layer gives. */
int main(int argc, char **argv)
{
    static uint8_t image[FL_${NAME}_IMAGE_BYTES];
    static int32_t logits[FL_${NAME}_CLASSES], workspace[FL_${NAME}_WORKSPACE];
    (void)argv;
    writes = argc > 1;
    while (writes && fread(image, 1, sizeof image, stdin) == sizeof image) {
        layers_done = 0;
        fl_${name}_infer(image, logits, workspace);
    }
    if (writes)
        return ferror(stdin) || fflush(stdout) || ferror(stdout);
    int wrong = GOLDEN == 0;
    for (int i = 0; i < GOLDEN; i++) {
        layers_done = 0;
        fl_${name}_infer(golden_images[i], logits, workspace);
        int layer = 0;
        while (layer < LAYERS && crcs[layer] == golden_crcs[i][layer])
            layer++;
        if (layer < LAYERS) {
            printf("golden image %d differs, first in layer %s\n", i, names[layer]);
            wrong = 1;
        }
    }
    printf("%d golden images, %d layers: %s\n", (int)GOLDEN, (int)LAYERS, wrong ? "WRONG" : "equal");
    return wrong;
}
#endif
