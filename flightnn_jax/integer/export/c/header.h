/* $about: an integer network, written by flightnn_jax.

       static int32_t workspace[FL_${NAME}_WORKSPACE], logits[FL_${NAME}_CLASSES];
       fl_${name}_infer(image, logits, workspace);
       puts(fl_${name}_labels[fl_${name}_class(logits)]);

$sizes
*/
#ifndef FL_${NAME}_H
#define FL_${NAME}_H

#include <stdint.h>

#define FL_${NAME}_IMAGE_BYTES $image /* $shape: rows, columns, channels */
#define FL_${NAME}_CLASSES $classes
#define FL_${NAME}_WORKSPACE $words /* int32_t, of which the caller gives so many */
#define FL_${NAME}_RAM_BYTES $ram /* the workspace */
#define FL_${NAME}_FLASH_BYTES $flash /* constants; code comes on top */
#define FL_${NAME}_OUTPUT_EXPONENT ($exponent) /* a real logit is its integer times 2 to this */

#ifdef __cplusplus
extern "C" {
#endif

/* From the bytes of an image to logits. The workspace may hold anything, before and afterwards.
   Calls with workspaces of their own may run at once. */
void fl_${name}_infer(const uint8_t *image, int32_t *logits, int32_t *workspace);

/* The number of the largest logit, the first of equal ones. */
int fl_${name}_class(const int32_t *logits);

extern const char *const fl_${name}_labels[FL_${NAME}_CLASSES]; /* UTF-8 */

#ifdef __cplusplus
}
#endif

#endif
