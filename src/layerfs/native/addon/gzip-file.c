/* Members, their headers and trailers: see gzip-file.h. */
#define _GNU_SOURCE
#include "gzip-file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { HEADER = 10, TRAILER = 8 };

enum flag { HEADER_SUM = 0x02, EXTRA = 0x04, NAME = 0x08, COMMENT = 0x10, RESERVED = 0xe0 };

static const char ends_early[] = "it ends too early";

ssize_t read_at(int fd, off_t at, uint8_t *bytes, size_t size) {
  size_t length = 0;
  while (length < size) {
    const ssize_t count = pread(fd, bytes + length, size - length, at + (off_t)length);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return -1;
    if (count == 0) break;
    length += (size_t)count;
  }
  return (ssize_t)length;
}

static bool damaged(struct gzip_file *file, const char *why) {
  file->damage = why;
  return false;
}

/* Where in the file the next byte is that was not used. */
static off_t place(const struct gzip_file *file) {
  return file->input_end - (off_t)(file->io.input_size - file->io.input_at);
}

/* Goes on there. */
static bool read_from(struct gzip_file *file, off_t at) {
  const ssize_t size = read_at(file->fd, at, file->input, sizeof file->input);
  if (size < 0) return false;
  file->io.input = file->input;
  file->io.input_size = (size_t)size;
  file->io.input_at = 0;
  file->input_end = at + size;
  return true;
}

static bool read_on(struct gzip_file *file) {
  const off_t before = file->input_end;
  if (!read_from(file, place(file))) return false;
  return file->input_end > before || damaged(file, ends_early);
}

static uint32_t little_endian(const uint8_t *bytes) {
  return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static bool end_member(struct gzip_file *file) {
  uint8_t trailer[TRAILER];
  const off_t at = place(file);
  const ssize_t size = read_at(file->fd, at, trailer, sizeof trailer);
  if (size < 0) return false;
  if (size < TRAILER) return damaged(file, ends_early);
  if (little_endian(trailer + 4) != file->size) return damaged(file, "its size is another");
  file->is_in_member = false;
  return read_from(file, at + TRAILER);
}

static bool inflate_on(struct gzip_file *file) {
  const size_t before = file->io.output_at;
  const enum inflate_status status = inflate_some(&file->inflater, &file->io);
  file->size += (uint32_t)(file->io.output_at - before);
  switch (status) {
    case DAMAGED: return damaged(file, "its codes make no sense");
    case NEEDS_INPUT: return read_on(file);
    case ENDED: return end_member(file);
    case NEEDS_OUTPUT: break;
  }
  return true;
}

/* Moves `at` behind the NUL that ends the text there. */
static bool skip_text(struct gzip_file *file, off_t *at) {
  uint8_t bytes[4096];
  for (;;) {
    const ssize_t size = read_at(file->fd, *at, bytes, sizeof bytes);
    if (size < 0) return false;
    if (size == 0) return damaged(file, ends_early);
    const uint8_t *end = memchr(bytes, '\0', (size_t)size);
    *at += end == NULL ? size : end - bytes + 1;
    if (end != NULL) return true;
  }
}

static bool skip_extra(struct gzip_file *file, off_t *at) {
  uint8_t length[2];
  const ssize_t size = read_at(file->fd, *at, length, sizeof length);
  if (size < 0) return false;
  if (size < (ssize_t)sizeof length) return damaged(file, ends_early);
  *at += 2 + (length[0] | length[1] << 8);
  return true;
}

/* Begins the member whose header is there. */
static bool begin_member(struct gzip_file *file, const uint8_t *header, ssize_t size, off_t at) {
  if (header[0] != 0x1f || size < 2 || header[1] != 0x8b) {
    return damaged(file, "something else is behind it");
  }
  if (size < HEADER) return damaged(file, ends_early);
  const unsigned has = header[3];
  if (header[2] != 8 || (has & RESERVED)) return damaged(file, "its header is unknown");
  at += HEADER;
  if ((has & EXTRA) && !skip_extra(file, &at)) return false;
  if ((has & NAME) && !skip_text(file, &at)) return false;
  if ((has & COMMENT) && !skip_text(file, &at)) return false;
  if (has & HEADER_SUM) at += 2;
  memset(&file->inflater, 0, sizeof file->inflater);
  file->is_in_member = true;
  file->size = 0;
  return read_from(file, at);
}

/* Into the next member, or to the end of all. */
static bool find_member(struct gzip_file *file) {
  uint8_t header[HEADER];
  const off_t at = place(file);
  const ssize_t size = read_at(file->fd, at, header, sizeof header);
  if (size < 0) return false;
  file->is_over = size == 0 || header[0] == 0;
  return file->is_over || begin_member(file, header, size, at);
}

ssize_t read_gzip(struct gzip_file *file, uint8_t *target, size_t size) {
  struct inflate_io *io = &file->io;
  if (file->last_end == NULL) memset(target, 0, INFLATE_WINDOW);
  else memmove(target, file->last_end - INFLATE_WINDOW, INFLATE_WINDOW);
  io->output = target;
  io->output_size = size;
  io->output_at = INFLATE_WINDOW;
  while (io->output_at < size && !file->is_over) {
    if (!(file->is_in_member ? inflate_on(file) : find_member(file))) return -1;
  }
  file->last_end = target + io->output_at;
  return (ssize_t)(io->output_at - INFLATE_WINDOW);
}
