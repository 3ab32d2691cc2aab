/* Canonical Huffman codes as tables of two levels. RFC 1951, 3.2.2 to 3.2.6. */
#include "inflate.h"

#include <string.h>

#define LONGEST 15

static const uint16_t length_bases[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                        31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t length_extra[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                       2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
#define LENGTH_CODES (sizeof length_extra)

static const uint16_t distance_bases[] = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,
                                          33,  49,  65,  97,  129, 193,  257,  385,  513,  769,
                                          1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
#define DISTANCE_CODES (sizeof distance_bases / sizeof *distance_bases)

/* What a symbol's entry says, but for the bits of its code. */
static uint32_t literal_entry(unsigned symbol, unsigned length) {
  if (symbol < 256) return IS_LITERAL | symbol << 16 | length;
  if (symbol == 256) return IS_SPECIAL | IS_END | length;
  if (symbol - 257 >= LENGTH_CODES) return IS_SPECIAL;
  return (uint32_t)length_bases[symbol - 257] << 16 | length << 8 |
         (length + length_extra[symbol - 257]);
}

static uint32_t distance_entry(unsigned symbol, unsigned length) {
  if (symbol >= DISTANCE_CODES) return IS_SPECIAL;
  const unsigned extra = symbol < 4 ? 0 : (symbol - 2) / 2;
  return (uint32_t)distance_bases[symbol] << 16 | length << 8 | (length + extra);
}

struct table {
  uint32_t *entries;
  size_t size;
  unsigned bits;
  uint32_t (*entry)(unsigned symbol, unsigned length);
};

struct code_counts {
  /* How many codes have each length. */
  unsigned of[LONGEST + 1];
  unsigned longest;
  /* Whether any bits begin with a code. */
  bool is_complete;
};

/* False: over-subscribed. */
static bool count_codes(const uint8_t *lengths, unsigned symbols, struct code_counts *counts) {
  memset(counts, 0, sizeof *counts);
  for (unsigned symbol = 0; symbol < symbols; symbol++) counts->of[lengths[symbol]]++;
  counts->of[0] = 0;
  int left = 1;
  for (unsigned length = 1; length <= LONGEST; length++) {
    left = left * 2 - (int)counts->of[length];
    if (left < 0) return false;
    if (counts->of[length] > 0) counts->longest = length;
  }
  counts->is_complete = left == 0;
  return true;
}

/* A code's bits come highest first, into tables that are asked with the lowest first. */
static unsigned reversed(unsigned code, unsigned length) {
  unsigned result = 0;
  for (unsigned i = 0; i < length; i++) result |= ((code >> i) & 1) << (length - 1 - i);
  return result;
}

/* How many bits a second table needs for the codes from `length` on that begin alike. */
static unsigned second_bits(const struct code_counts *left, unsigned length, unsigned first) {
  unsigned bits = length - first;
  for (int room = 1 << bits; bits + first < left->longest; bits++, room *= 2) {
    room -= (int)left->of[bits + first];
    if (room <= 0) break;
  }
  return bits;
}

static void fill(uint32_t *entries, unsigned size, unsigned from, unsigned step, uint32_t entry) {
  for (unsigned i = from; i < size; i += step) entries[i] = entry;
}

struct second_table {
  unsigned start, bits;
  /* The first bits that lead to it; more than there are: none yet. */
  unsigned prefix;
};

/* Puts in one code. False: the table is too small, which complete codes never make it. */
static bool place(const struct table *table, struct second_table *second, unsigned code,
                  unsigned symbol, unsigned length, const struct code_counts *left, unsigned *used) {
  const unsigned bits = reversed(code, length);
  if (length <= table->bits) {
    fill(table->entries, 1u << table->bits, bits, 1u << length, table->entry(symbol, length));
    return true;
  }
  const unsigned prefix = bits & ((1u << table->bits) - 1);
  if (prefix != second->prefix) {
    *second = (struct second_table){*used, second_bits(left, length, table->bits), prefix};
    if (*used + (1u << second->bits) > table->size) return false;
    *used += 1u << second->bits;
    table->entries[prefix] =
        IS_SPECIAL | IS_TABLE | second->start << 16 | second->bits << 8 | table->bits;
  }
  const unsigned rest = length - table->bits;
  fill(table->entries + second->start, 1u << second->bits, bits >> table->bits, 1u << rest,
       table->entry(symbol, rest));
  return true;
}

/* Incomplete codes are refused, but one of a single bit, or none, where that `may` be. */
enum incomplete { NEVER_INCOMPLETE, MAY_BE_SINGLE };

static bool build(const struct table *table, const uint8_t *lengths, unsigned symbols,
                  enum incomplete may) {
  struct code_counts counts;
  if (!count_codes(lengths, symbols, &counts)) return false;
  if (!counts.is_complete && (may == NEVER_INCOMPLETE || counts.longest > 1)) return false;
  for (size_t i = 0; i < table->size; i++) table->entries[i] = IS_SPECIAL;
  /* Symbols in the order of their codes. */
  uint16_t sorted[288];
  unsigned offsets[LONGEST + 2] = {0};
  for (unsigned i = 1; i <= LONGEST; i++) offsets[i + 1] = offsets[i] + counts.of[i];
  for (unsigned i = 0; i < symbols; i++) {
    if (lengths[i] != 0) sorted[offsets[lengths[i]]++] = (uint16_t)i;
  }
  struct second_table second = {0, 0, UINT32_MAX};
  unsigned used = 1u << table->bits, code = 0, next = 0;
  for (unsigned length = 1; length <= counts.longest; length++, code *= 2) {
    for (; counts.of[length] > 0; counts.of[length]--, code++) {
      if (!place(table, &second, code, sorted[next++], length, &counts, &used)) return false;
    }
  }
  return true;
}

bool build_tables(struct code_tables *tables, const uint8_t *literals, const uint8_t *distances) {
  const struct table literal = {tables->literals, LITERAL_ENTRIES, LITERAL_BITS, literal_entry};
  const struct table distance = {tables->distances, DISTANCE_ENTRIES, DISTANCE_BITS, distance_entry};
  return build(&literal, literals, 288, MAY_BE_SINGLE) &&
         build(&distance, distances, 32, MAY_BE_SINGLE);
}

bool build_length_table(struct code_tables *tables, const uint8_t *lengths) {
  const struct table table = {tables->literals, LITERAL_ENTRIES, LITERAL_BITS, literal_entry};
  return build(&table, lengths, 19, NEVER_INCOMPLETE);
}
