/*
 * Deflate: RFC 1951, a piece at a time, for gzip of layers (compression/gzip.ts).
 *
 * 1. What is put out depends on the piece and the bytes before it alone: no state is kept.
 * 2. Nothing outside the input and the output is touched, whatever the bytes are; what does not
 *    compress is stored, so `deflate_bound` bytes always do.
 * 3. The piece ends with a sync flush (an empty stored block), so that pieces are laid end to end.
 */
#ifndef DEFLATE_H
#define DEFLATE_H

#include <stddef.h>
#include <stdint.h>

/* The most bytes that are referred to before a piece. */
#define DEFLATE_WINDOW (1 << 15)

size_t deflate_bound(size_t size);

/* `input` has `before` bytes that were put out already and are referred to, then `size` more. How
 * many bytes were put out; 0: no memory. */
size_t deflate_piece(const uint8_t *input, size_t before, size_t size, uint8_t *output);

/* Codes of at most `longest` bits for `count` symbols: their lengths, 0 for those not used, and the
 * codes with their first bit lowest. */
void make_codes(const uint32_t *frequencies, unsigned count, unsigned longest, uint8_t *lengths,
                uint16_t *codes);

#endif
