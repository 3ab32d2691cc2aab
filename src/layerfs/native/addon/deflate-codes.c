/* Huffman codes of bounded length. */
#include "deflate.h"

#include <stdlib.h>
#include <string.h>

#define MOST_SYMBOLS 288
#define MOST_BITS 15

struct symbol {
  uint32_t frequency;
  uint16_t value;
};

static int by_frequency(const void *one, const void *other) {
  const struct symbol *a = one, *b = other;
  if (a->frequency != b->frequency) return a->frequency < b->frequency ? -1 : 1;
  return a->value < b->value ? -1 : 1;
}

/* Moffat and Katajainen, "In-place calculation of minimum-redundancy codes": frequencies in rising
 * order become lengths in falling order. */
static void minimum_redundancy(uint32_t *a, unsigned n) {
  a[0] += a[1];
  unsigned root = 0, leaf = 2;
  for (unsigned next = 1; next + 1 < n; next++) {
    if (leaf >= n || a[root] < a[leaf]) {
      a[next] = a[root];
      a[root++] = next;
    } else {
      a[next] = a[leaf++];
    }
    if (leaf >= n || (root < next && a[root] < a[leaf])) {
      a[next] += a[root];
      a[root++] = next;
    } else {
      a[next] += a[leaf++];
    }
  }
  a[n - 2] = 0;
  for (int next = (int)n - 3; next >= 0; next--) a[next] = a[a[next]] + 1;
  int available = 1, used = 0, place = (int)n - 2, next = (int)n - 1;
  for (uint32_t depth = 0; available > 0; depth++) {
    for (; place >= 0 && a[place] == depth; place--) used++;
    for (; available > used; available--) a[next--] = depth;
    available = 2 * used;
    used = 0;
  }
}

/* Too long ones are made as long as may be; then others longer, until the codes fit (Kraft). */
static void limit_lengths(uint32_t *counts, unsigned longest) {
  for (unsigned bits = longest + 1; bits <= 32; bits++) counts[longest] += counts[bits];
  uint32_t total = 0;
  for (unsigned bits = longest; bits > 0; bits--) total += counts[bits] << (longest - bits);
  while (total != 1u << longest) {
    counts[longest]--;
    for (unsigned bits = longest - 1; bits > 0; bits--) {
      if (counts[bits] == 0) continue;
      counts[bits]--;
      counts[bits + 1] += 2;
      break;
    }
    total--;
  }
}

static uint16_t reversed(uint32_t code, unsigned bits) {
  uint16_t result = 0;
  for (; bits > 0; bits--, code >>= 1) result = (uint16_t)(result << 1 | (code & 1));
  return result;
}

static void number_codes(const uint8_t *lengths, unsigned count, uint16_t *codes) {
  uint32_t counts[MOST_BITS + 1] = {0}, next[MOST_BITS + 2] = {0};
  for (unsigned i = 0; i < count; i++) counts[lengths[i]]++;
  counts[0] = 0;
  for (unsigned bits = 1; bits <= MOST_BITS; bits++) {
    next[bits + 1] = (next[bits] + counts[bits]) << 1;
  }
  for (unsigned i = 0; i < count; i++) {
    if (lengths[i] != 0) codes[i] = reversed(next[lengths[i]]++, lengths[i]);
  }
}

void make_codes(const uint32_t *frequencies, unsigned count, unsigned longest, uint8_t *lengths,
                uint16_t *codes) {
  struct symbol symbols[MOST_SYMBOLS];
  uint32_t depths[MOST_SYMBOLS], counts[33] = {0};
  unsigned used = 0;
  memset(lengths, 0, count);
  for (unsigned i = 0; i < count; i++) {
    if (frequencies[i] != 0) symbols[used++] = (struct symbol){frequencies[i], (uint16_t)i};
  }
  /* Decoders want a complete code: of one symbol, or of none, another is made up. */
  for (uint16_t i = 0; used < 2; i++) {
    if (frequencies[i] == 0) symbols[used++] = (struct symbol){1, i};
  }
  qsort(symbols, used, sizeof *symbols, by_frequency);
  for (unsigned i = 0; i < used; i++) depths[i] = symbols[i].frequency;
  minimum_redundancy(depths, used);
  for (unsigned i = 0; i < used; i++) counts[depths[i] > 32 ? 32 : depths[i]]++;
  limit_lengths(counts, longest);
  /* The rarest have the longest. */
  unsigned at = 0;
  for (unsigned bits = longest; bits > 0; bits--) {
    for (uint32_t i = 0; i < counts[bits]; i++) lengths[symbols[at++].value] = (uint8_t)bits;
  }
  number_codes(lengths, count, codes);
}
