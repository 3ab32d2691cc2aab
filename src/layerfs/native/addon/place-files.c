/*
 * The plain files that stand in a tar one after the other, all of one directory, made by one call: in
 * most layers those are nearly all entries, and the ways through JavaScript cost as much as the kernel
 * does.
 *
 * This takes what every reader understands alike: one ustar or GNU header, all numbers octal, and the
 * whole content behind it. Whatever is in any way else is left where it is, for tar/reader.ts and
 * layer/extraction.ts to look at, and so is a file whose name is taken or that cannot be made: they
 * know what is to be done, or said. So each check here may be stricter than theirs, none weaker.
 */
#define _GNU_SOURCE
#include "new-file.h"
#include "tar-header.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct archive {
  const char *bytes;
  size_t size;
};

/* Digits between blanks and NULs; none are 0. False: something else is there. */
static bool read_octal(const char *field, size_t size, uint64_t *value) {
  size_t at = 0;
  *value = 0;
  while (at < size && (field[at] == ' ' || field[at] == '\0')) at++;
  for (; at < size && field[at] >= '0' && field[at] <= '7'; at++) {
    *value = *value << 3 | (uint64_t)(field[at] - '0');
  }
  while (at < size && (field[at] == ' ' || field[at] == '\0')) at++;
  return at == size;
}

#define READ(header, field, value) read_octal((header)->field, sizeof(header)->field, value)

static bool has_right_sum(const struct header *header) {
  const unsigned char *bytes = (const unsigned char *)header;
  uint64_t stored, sum = 0;
  for (size_t i = 0; i < BLOCK; i++) sum += bytes[i];
  for (size_t i = 0; i < sizeof header->checksum; i++) sum += ' ' - (unsigned char)header->checksum[i];
  return READ(header, checksum, &stored) && stored == sum;
}

/* Whose prefix, where there is one, is known to be one. Of GNU and star other things stand there. */
static bool is_understood(const struct header *header) {
  const bool has_prefix = header->prefix[0] != '\0';
  if (memcmp(header->magic, "ustar  ", sizeof header->magic) == 0) return !has_prefix;
  return memcmp(header->magic, "ustar", sizeof "ustar") == 0 &&
         (!has_prefix || memcmp(header->rest + sizeof header->rest - 4, "tar", 4) != 0);
}

/* Behind `directory`, the name of what is in it itself; false: it is in another, or no name of content. */
static bool read_own_name(const struct header *header, const char *directory, size_t size,
                          struct name *name) {
  char path[LONGEST_PREFIX + 1 + LONGEST_NAME + 1];
  const size_t prefix = strnlen(header->prefix, sizeof header->prefix);
  const size_t own = strnlen(header->name, sizeof header->name);
  size_t length = 0;
  if (prefix > 0) {
    memcpy(path, header->prefix, prefix);
    path[prefix] = '/';
    length = prefix + 1;
  }
  memcpy(path + length, header->name, own);
  length += own;
  path[length] = '\0';
  if (length <= size || (size > 0 && memcmp(path, directory, size) != 0)) return false;
  memcpy(name->text, path + size, length - size + 1);
  return strchr(name->text, '/') == NULL && strcmp(name->text, ".") != 0 &&
         strcmp(name->text, "..") != 0 && strncmp(name->text, ".wh.", 4) != 0;
}

struct numbers {
  uint64_t mode, uid, gid, size, mtime, dev_major, dev_minor;
};

static bool read_all_numbers(const struct header *header, struct numbers *numbers) {
  return READ(header, mode, &numbers->mode) && READ(header, uid, &numbers->uid) &&
         READ(header, gid, &numbers->gid) && READ(header, size, &numbers->size) &&
         READ(header, mtime, &numbers->mtime) && READ(header, dev_major, &numbers->dev_major) &&
         READ(header, dev_minor, &numbers->dev_minor);
}

/* How much of the archive the file and what fills up its last block take; 0: it was left. */
static size_t place_first(const struct archive *archive, int dir_fd, const char *directory,
                          size_t directory_size, uint64_t *content) {
  const struct header *header = (const struct header *)archive->bytes;
  struct numbers numbers;
  struct name name;
  if (archive->size < BLOCK || header->type != '0' || !is_understood(header) ||
      !has_right_sum(header) || !read_all_numbers(header, &numbers) ||
      !read_own_name(header, directory, directory_size, &name)) {
    return 0;
  }
  const size_t room = archive->size - BLOCK;
  const size_t padding = (BLOCK - numbers.size % BLOCK) % BLOCK;
  if (numbers.size > room || padding > room - numbers.size) return 0;
  const struct attributes attributes = {
      .mode = (mode_t)(numbers.mode & 07777),
      .uid = (uid_t)numbers.uid,
      .gid = (gid_t)numbers.gid,
      .time = {.tv_sec = (time_t)numbers.mtime},
  };
  const struct new_file file = {dir_fd, name.text, archive->bytes + BLOCK, numbers.size, &attributes};
  const char *call;
  const enum made made = make_file(&file, &call);
  if (made == HALF_MADE) unlinkat(dir_fd, name.text, 0);
  if (made != DONE) return 0;
  *content += numbers.size;
  return BLOCK + numbers.size + padding;
}

/* placeFiles(dirFd, directory, archive, counts): how many of its bytes were dealt with. */
static napi_value call_place_files(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  int dir_fd;
  const void *directory, *bytes;
  size_t directory_size, size, at = 0;
  const double *numbers;
  uint64_t files = 0, content = 0;
  if (!read_int(&args, 0, &dir_fd) || !read_bytes(&args, 1, &directory, &directory_size) ||
      !read_bytes(&args, 2, &bytes, &size) || !read_numbers(&args, 3, 2, &numbers)) {
    return NULL;
  }
  for (;;) {
    const struct archive rest = {(const char *)bytes + at, size - at};
    const size_t taken = place_first(&rest, dir_fd, directory, directory_size, &content);
    if (taken == 0) break;
    at += taken;
    files++;
  }
  double *counts = (double *)(uintptr_t)numbers;
  counts[0] = (double)files;
  counts[1] = (double)content;
  return number(env, (int64_t)at);
}

const struct binding place_files_bindings[] = {
    {"placeFiles", call_place_files},
    {NULL, NULL},
};
