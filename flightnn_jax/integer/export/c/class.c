int fl_${name}_class(const int32_t *logits)
{
    int best = 0;
    for (int i = 1; i < FL_${NAME}_CLASSES; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

const char *const fl_${name}_labels[FL_${NAME}_CLASSES] = {
    $labels,
};
