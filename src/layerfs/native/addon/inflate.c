/* Decoding: see inflate.h. */
#include "inflate.h"

#include <endian.h>
#include <string.h>

/* Three literals, the longest match, and what the copying in words may write behind it. */
#define FAST_OUTPUT (3 + 258 + 16)
/* Three refills of eight bytes. */
#define FAST_INPUT 24

/* The bits that are being read, and where the next come from. */
struct reader {
  uint64_t bits;
  unsigned count;
  const uint8_t *at, *end;
};

static uint64_t low(uint64_t bits, unsigned count) { return bits & ((UINT64_C(1) << count) - 1); }

static void skip(struct reader *in, unsigned count) {
  in->bits >>= count;
  in->count -= count;
}

/* How many bits an entry uses up: fewer than 64, which is how many a shift looks at. */
static inline unsigned bits_of(uint32_t entry) { return entry & 0x3f; }

/* 56 to 63 bits, if there is so much input; those behind its end are 0. */
static void refill(struct reader *in) {
  while (in->count < 56 && in->at < in->end) {
    in->bits |= (uint64_t)*in->at++ << in->count;
    in->count += 8;
  }
}

/* The same where eight bytes are known to be there: bits above the count are those to come. */
static inline void refill_fast(struct reader *in) {
  uint64_t word;
  memcpy(&word, in->at, sizeof word);
  in->bits |= le64toh(word) << in->count;
  in->at += (63 - in->count) >> 3;
  in->count |= 56;
}

static bool take(struct reader *in, unsigned count, unsigned *value) {
  if (in->count < count) refill(in);
  if (in->count < count) return false;
  *value = (unsigned)low(in->bits, count);
  skip(in, count);
  return true;
}

/* The entry for the next bits, those of a first table skipped. Its own may be more than there are. */
static inline uint32_t look_up(struct reader *in, const uint32_t *table, unsigned bits) {
  uint32_t entry = table[low(in->bits, bits)];
  if (entry & IS_TABLE) {
    in->bits >>= bits_of(entry);
    in->count -= bits_of(entry);
    entry = table[(entry >> 16) + low(in->bits, (entry >> 8) & 0xf)];
  }
  return entry;
}

/* The value of a length or distance with its extra bits, which are skipped. */
static inline unsigned value_of(struct reader *in, uint32_t entry) {
  const unsigned extra = (unsigned)(low(in->bits, bits_of(entry)) >> ((entry >> 8) & 0xf));
  skip(in, bits_of(entry));
  return (entry >> 16) + extra;
}

/* Up to 15 bytes behind the match are overwritten too. */
static inline void copy_fast(uint8_t *to, unsigned distance, unsigned length) {
  const uint8_t *from = to - distance;
  const uint8_t *end = to + length;
  if (distance >= 16) {
    /* Few are longer. */
    memcpy(to, from, 16);
    while ((to += 16) < end) memcpy(to, from += 16, 16);
  } else if (distance >= 8) {
    for (; to < end; to += 8, from += 8) memcpy(to, from, 8);
  } else if (distance == 1) {
    memset(to, *from, length);
  } else {
    while (to < end) *to++ = *from++;
  }
}

/* What stands before this was not put out by this stream, or is not in memory any more. */
static const uint8_t *earliest(const struct inflater *inflater, const struct inflate_io *io) {
  const uint8_t *here = io->output + io->output_at;
  return here - (inflater->total < io->output_at ? inflater->total : io->output_at);
}

/* Symbols while there is room to be careless. Leaves by an end of block, damage, or little room. */
static enum inflate_status decode_fast(struct inflater *inflater, struct reader *reader,
                                       struct inflate_io *io) {
  const uint32_t *const literals = inflater->tables.literals;
  const uint32_t *const distances = inflater->tables.distances;
  const uint8_t *const first = earliest(inflater, io);
  uint8_t *const start = io->output + io->output_at;
  uint8_t *out = start, *const fast_end = io->output + io->output_size - FAST_OUTPUT;
  enum inflate_status status = NEEDS_INPUT;
  struct reader in = *reader;
  const uint8_t *const fast_input = in.end - FAST_INPUT;
  if (in.at > fast_input || out >= fast_end) return status;
  refill_fast(&in);
  uint32_t entry = literals[low(in.bits, LITERAL_BITS)];
  do {
    /* 56 bits are there. Three literals take at most 11 each. */
    if (entry & IS_LITERAL) {
      *out++ = (uint8_t)(entry >> 16);
      skip(&in, bits_of(entry));
      entry = literals[low(in.bits, LITERAL_BITS)];
      if (entry & IS_LITERAL) {
        *out++ = (uint8_t)(entry >> 16);
        skip(&in, bits_of(entry));
        entry = literals[low(in.bits, LITERAL_BITS)];
        if (entry & IS_LITERAL) {
          *out++ = (uint8_t)(entry >> 16);
          skip(&in, bits_of(entry));
          entry = literals[low(in.bits, LITERAL_BITS)];
          refill_fast(&in);
          continue;
        }
      }
    }
    /* 34 bits are left: enough for 15 of a code and 5 extra. */
    if (entry & IS_SPECIAL) {
      entry = look_up(&in, literals, LITERAL_BITS);
      if (entry & IS_LITERAL) {
        *out++ = (uint8_t)(entry >> 16);
        skip(&in, bits_of(entry));
        refill_fast(&in);
        entry = literals[low(in.bits, LITERAL_BITS)];
        continue;
      }
      if (entry & IS_SPECIAL) {
        status = entry & IS_END ? NEEDS_INPUT : DAMAGED;
        skip(&in, bits_of(entry));
        inflater->phase = AT_BLOCK;
        break;
      }
    }
    const unsigned length = value_of(&in, entry);
    /* 28 bits are the most that a distance takes. */
    if (in.count < 28) refill_fast(&in);
    entry = look_up(&in, distances, DISTANCE_BITS);
    const unsigned distance = value_of(&in, entry);
    if ((entry & IS_SPECIAL) || distance > (size_t)(out - first)) {
      status = DAMAGED;
      break;
    }
    /* Before the copying, whose end is hard to predict. */
    refill_fast(&in);
    entry = literals[low(in.bits, LITERAL_BITS)];
    copy_fast(out, distance, length);
    out += length;
  } while (in.at <= fast_input && out < fast_end);
  /* What a fast refill left above the count is read again. */
  in.bits = low(in.bits, in.count);
  *reader = in;
  io->output_at += (size_t)(out - start);
  inflater->total += (size_t)(out - start);
  return status;
}

/* As much of the match as there is room for. */
static enum inflate_status copy_match(struct inflater *inflater, struct inflate_io *io) {
  while (inflater->match_left > 0) {
    if (io->output_at == io->output_size) return NEEDS_OUTPUT;
    io->output[io->output_at] = io->output[io->output_at - inflater->match_distance];
    io->output_at++;
    inflater->total++;
    inflater->match_left--;
  }
  return ENDED;
}

/* One symbol, whatever is left of input and output. ENDED: it is done. */
static enum inflate_status decode_one(struct inflater *inflater, struct reader *reader,
                                      struct inflate_io *io) {
  refill(reader);
  struct reader in = *reader;
  const unsigned had = in.count;
  uint32_t entry = look_up(&in, inflater->tables.literals, LITERAL_BITS);
  /* The count wraps where bits were skipped that are not there. */
  if (in.count > had || bits_of(entry) > in.count) return NEEDS_INPUT;
  if (entry & IS_LITERAL) {
    if (io->output_at == io->output_size) return NEEDS_OUTPUT;
    io->output[io->output_at++] = (uint8_t)(entry >> 16);
    inflater->total++;
    skip(&in, bits_of(entry));
  } else if (entry & IS_SPECIAL) {
    /* An invalid code has no length: with fewer bits than the longest it may be a valid one. */
    if (!(entry & IS_END)) return had < 15 && reader->at == reader->end ? NEEDS_INPUT : DAMAGED;
    skip(&in, bits_of(entry));
    inflater->phase = AT_BLOCK;
  } else {
    const unsigned length = value_of(&in, entry);
    const unsigned left = in.count;
    entry = look_up(&in, inflater->tables.distances, DISTANCE_BITS);
    if (in.count > left || bits_of(entry) > in.count) return NEEDS_INPUT;
    if (entry & IS_SPECIAL) return left < 15 && in.at == in.end ? NEEDS_INPUT : DAMAGED;
    const unsigned distance = value_of(&in, entry);
    if (distance > (size_t)(io->output + io->output_at - earliest(inflater, io))) return DAMAGED;
    inflater->match_left = length;
    inflater->match_distance = distance;
  }
  *reader = in;
  return copy_match(inflater, io);
}

static enum inflate_status decode(struct inflater *inflater, struct reader *in,
                                  struct inflate_io *io) {
  /* A caller that kept less than it promised gets no bytes from before its memory. */
  if (inflater->match_left > 0 && inflater->match_distance > io->output_at) return DAMAGED;
  enum inflate_status status = copy_match(inflater, io);
  while (status == ENDED && inflater->phase == IN_CODES) {
    if (in->end - in->at >= FAST_INPUT && io->output_size - io->output_at > FAST_OUTPUT) {
      if (decode_fast(inflater, in, io) == DAMAGED) return DAMAGED;
    } else {
      status = decode_one(inflater, in, io);
    }
  }
  return status;
}

static enum inflate_status copy_stored(struct inflater *inflater, struct reader *in,
                                       struct inflate_io *io) {
  while (inflater->stored_left > 0) {
    const size_t input = (size_t)(in->end - in->at), room = io->output_size - io->output_at;
    if (room == 0) return NEEDS_OUTPUT;
    if (input == 0) return NEEDS_INPUT;
    size_t size = inflater->stored_left;
    if (size > input) size = input;
    if (size > room) size = room;
    memcpy(io->output + io->output_at, in->at, size);
    in->at += size;
    io->output_at += size;
    inflater->total += size;
    inflater->stored_left -= (uint32_t)size;
  }
  inflater->phase = AT_BLOCK;
  return ENDED;
}

static enum inflate_status begin_stored(struct inflater *inflater, struct reader *in) {
  unsigned length, inverse;
  skip(in, in->count % 8);
  if (!take(in, 16, &length) || !take(in, 16, &inverse)) return NEEDS_INPUT;
  if (length != (inverse ^ 0xffff)) return DAMAGED;
  /* From here on bytes are copied: those that were read already go back. */
  in->at -= in->count / 8;
  in->bits = 0;
  in->count = 0;
  inflater->stored_left = length;
  inflater->phase = IN_STORED;
  return ENDED;
}

static bool begin_fixed(struct inflater *inflater) {
  uint8_t literals[288], distances[32];
  memset(literals, 8, 144);
  memset(literals + 144, 9, 112);
  memset(literals + 256, 7, 24);
  memset(literals + 280, 8, 8);
  memset(distances, 5, sizeof distances);
  inflater->phase = IN_CODES;
  return build_tables(&inflater->tables, literals, distances);
}

/* The next code of the code that the lengths are written in. False: input is missing, or damaged. */
static bool take_length_code(struct reader *in, const uint32_t *table, unsigned *symbol) {
  refill(in);
  const uint32_t entry = table[low(in->bits, LITERAL_BITS)];
  if (!(entry & IS_LITERAL) || bits_of(entry) > in->count) return false;
  skip(in, bits_of(entry));
  *symbol = (entry >> 16) & 0xff;
  return true;
}

/* Reads `count` lengths, run-length encoded. */
static bool take_lengths(struct reader *in, const uint32_t *table, uint8_t *lengths,
                         unsigned count) {
  for (unsigned done = 0; done < count;) {
    unsigned symbol, more = 1, value = 0;
    if (!take_length_code(in, table, &symbol)) return false;
    if (symbol < 16) {
      lengths[done++] = (uint8_t)symbol;
      continue;
    }
    if (symbol == 16) {
      if (done == 0 || !take(in, 2, &more)) return false;
      value = lengths[done - 1];
      more += 3;
    } else {
      if (!take(in, symbol == 17 ? 3 : 7, &more)) return false;
      more += symbol == 17 ? 3 : 11;
    }
    if (more > count - done) return false;
    memset(lengths + done, (int)value, more);
    done += more;
  }
  return true;
}

static bool begin_dynamic(struct inflater *inflater, struct reader *in) {
  static const uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  uint8_t code[19] = {0}, lengths[288 + 32] = {0}, literals[288] = {0}, distances[32] = {0};
  unsigned literal_count, distance_count, code_count, length;
  if (!take(in, 5, &literal_count) || !take(in, 5, &distance_count) || !take(in, 4, &code_count)) {
    return false;
  }
  literal_count += 257;
  distance_count += 1;
  if (literal_count > 286 || distance_count > 30) return false;
  for (unsigned i = 0; i < code_count + 4; i++) {
    if (!take(in, 3, &length)) return false;
    code[order[i]] = (uint8_t)length;
  }
  /* Its symbols are literals of the table that the block's own codes replace. */
  if (!build_length_table(&inflater->tables, code)) return false;
  if (!take_lengths(in, inflater->tables.literals, lengths, literal_count + distance_count)) {
    return false;
  }
  memcpy(literals, lengths, literal_count);
  memcpy(distances, lengths + literal_count, distance_count);
  inflater->phase = IN_CODES;
  return literals[256] != 0 && build_tables(&inflater->tables, literals, distances);
}

static enum inflate_status begin_block(struct inflater *inflater, struct reader *in) {
  unsigned is_last, type;
  if (!take(in, 1, &is_last) || !take(in, 2, &type)) return NEEDS_INPUT;
  inflater->is_last_block = is_last;
  if (type == 0) return begin_stored(inflater, in);
  if (type == 1) return begin_fixed(inflater) ? ENDED : DAMAGED;
  if (type == 3) return DAMAGED;
  if (begin_dynamic(inflater, in)) return ENDED;
  /* Damaged, or not all there: whoever has no more input knows which. */
  inflater->phase = AT_BLOCK;
  return in->at == in->end ? NEEDS_INPUT : DAMAGED;
}

/* A block's header is read as a whole, or not at all. */
static enum inflate_status step(struct inflater *inflater, struct reader *in,
                                struct inflate_io *io) {
  if (inflater->phase == IN_CODES) return decode(inflater, in, io);
  if (inflater->phase == IN_STORED) return copy_stored(inflater, in, io);
  if (inflater->is_last_block) {
    inflater->phase = AT_END;
    return ENDED;
  }
  const struct reader before = *in;
  const enum inflate_status status = begin_block(inflater, in);
  if (status == NEEDS_INPUT) {
    *in = before;
    inflater->is_last_block = false;
  }
  return status;
}

enum inflate_status inflate_some(struct inflater *inflater, struct inflate_io *io) {
  const uint8_t *start = io->input + io->input_at;
  struct reader in = {inflater->bits, inflater->bit_count, start, io->input + io->input_size};
  enum inflate_status status = ENDED;
  while (status == ENDED && inflater->phase != AT_END) status = step(inflater, &in, io);
  /* Whole bytes go back, but none that were there before this input. */
  const size_t back = in.count / 8;
  io->input_at = (size_t)(in.at - io->input) - back;
  inflater->bit_count = in.count % 8;
  inflater->bits = low(in.bits, inflater->bit_count);
  return status;
}
