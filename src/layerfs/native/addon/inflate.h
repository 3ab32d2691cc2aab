/*
 * Inflate: RFC 1951, piece by piece, into memory that other threads share. It takes 0.7 of the time
 * of zlib as Node has it (measured: programs, text, noise), and inflating is a third of pulling an image.
 *
 * 1. Input is hostile. Nothing outside input[0, input_size) is read, nothing outside
 *    output[0, output_size) written, whatever the bytes say; a match reaches back no further than
 *    what was put out since the stream began.
 * 2. What zlib refuses is refused: over-subscribed or incomplete codes, a block without an end.
 * 3. Input that is not used up is to be passed again, with more behind it: at most a block's header.
 */
#ifndef INFLATE_H
#define INFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LITERAL_BITS 11
#define DISTANCE_BITS 8
/* The most entries that complete codes of up to 15 bits make with tables of such first levels:
 * zlib's examples/enough.c. */
#define LITERAL_ENTRIES 2342
#define DISTANCE_ENTRIES 402

/*
 * One entry decodes what the next bits begin with.
 *
 *   literal    IS_LITERAL | byte << 16 | bits
 *   length,    base << 16 | bits without the extra ones << 8 | bits
 *   distance
 *   the rest   IS_SPECIAL | IS_TABLE | start << 16 | bits of that table << 8 | bits
 *              IS_SPECIAL | IS_END | bits;   IS_SPECIAL alone: no code begins so
 */
#define IS_LITERAL 0x80000000u
#define IS_SPECIAL 0x8000u
#define IS_TABLE 0x4000u
#define IS_END 0x2000u

struct code_tables {
  uint32_t literals[LITERAL_ENTRIES];
  uint32_t distances[DISTANCE_ENTRIES];
};

/* `lengths`: of 288 and 32 codes, 0 for those that are not used. False: no valid codes. */
bool build_tables(struct code_tables *tables, const uint8_t *literals, const uint8_t *distances);

/* For the code that those lengths are written in, of 19 codes; in place of the literals' table. */
bool build_length_table(struct code_tables *tables, const uint8_t *lengths);

enum inflate_phase { AT_BLOCK, IN_STORED, IN_CODES, AT_END };

/* How far back a match can reach. */
#define INFLATE_WINDOW (32 << 10)

/* All zero: a stream begins. */
struct inflater {
  enum inflate_phase phase;
  bool is_last_block;
  /* Fewer than eight bits of the byte before the next input. */
  uint64_t bits;
  unsigned bit_count;
  uint32_t stored_left;
  /* Of a match that had no room. */
  uint32_t match_left;
  uint32_t match_distance;
  uint64_t total;
  struct code_tables tables;
};

enum inflate_status { NEEDS_INPUT, NEEDS_OUTPUT, ENDED, DAMAGED };

struct inflate_io {
  const uint8_t *input;
  size_t input_size;
  /* Advanced by what was used up. */
  size_t input_at;
  uint8_t *output;
  size_t output_size;
  /* Where to go on; before it stands what was put out last, a window of it if there was so much. */
  size_t output_at;
};

enum inflate_status inflate_some(struct inflater *inflater, struct inflate_io *io);

#endif
