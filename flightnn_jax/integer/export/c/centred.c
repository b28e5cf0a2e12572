/* Bytes less 128. */
static void centred(int32_t values, const uint8_t *bytes, int8_t *activations)
{
    for (int32_t i = 0; i < values; i++)
        activations[i] = (int8_t)(bytes[i] - 128);
}
