/*
 * The plain files of a directory as a piece of a tar, in two calls: their headers, each with as much
 * room behind it as the file has bytes, and what goes there. JavaScript takes ten times as long for
 * both together, and most of a layer is such files (measured).
 *
 * The headers are those of tar/writer.ts, which says what they mean and knows what these leave out.
 */
#define _GNU_SOURCE
#include "list.h"
#include "parts.h"
#include "plain.h"
#include "syscalls.h"
#include "tar-header.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Digits and a NUL. */
static void write_octal(char *field, size_t size, uint64_t value) {
  field[--size] = '\0';
  for (; size > 0; value >>= 3) field[--size] = (char)('0' + (value & 7));
}

static bool fits(uint64_t value, size_t size) {
  return value >> (3 * (size - 1)) == 0;
}

/* False: it fits no way, or is no ASCII. */
static bool write_path(struct header *header, const char *path, size_t size) {
  for (size_t i = 0; i < size; i++) {
    if ((unsigned char)path[i] >= 0x80) return false;
  }
  size_t name = 0;
  if (size > LONGEST_NAME) {
    size_t slash = size - 2 < LONGEST_PREFIX ? size - 2 : LONGEST_PREFIX;
    while (slash > 0 && path[slash] != '/') slash--;
    if (slash == 0) return false;
    memcpy(header->prefix, path, slash);
    name = slash + 1;
  }
  if (size - name > LONGEST_NAME) return false;
  memcpy(header->name, path + name, size - name);
  return true;
}

static void write_checksum(struct header *header) {
  unsigned sum = 0;
  memset(header->checksum, ' ', sizeof header->checksum);
  for (size_t i = 0; i < BLOCK; i++) sum += ((const unsigned char *)header)[i];
  write_octal(header->checksum, sizeof header->checksum - 1, sum);
}

/* What all files of the directory have in common: where it is, and the time none is later than. */
struct pack {
  const char *directory;
  size_t directory_size;
  int64_t latest;
};

/* False: it needs more than one block, or is no plain file. */
static bool write_header(const struct pack *pack, const struct entry *entry, const char *name,
                         struct header *header) {
  char path[LONGEST_PREFIX + 1 + LONGEST_NAME];
  const size_t size = pack->directory_size + entry->name_size;
  if (!S_ISREG(entry->mode) || entry->links > 1 || size > sizeof path) return false;
  if (pack->latest < 0 || entry->mtime < 0 || !fits((uint64_t)entry->mtime, sizeof header->mtime) ||
      !fits(entry->bytes, sizeof header->size) || !fits(entry->uid, sizeof header->uid) ||
      !fits(entry->gid, sizeof header->gid)) {
    return false;
  }
  memset(header, 0, sizeof *header);
  if (pack->directory_size > 0) memcpy(path, pack->directory, pack->directory_size);
  memcpy(path + pack->directory_size, name, entry->name_size);
  if (!write_path(header, path, size)) return false;
  const int64_t time = entry->mtime < pack->latest ? entry->mtime : pack->latest;
  write_octal(header->mode, sizeof header->mode, entry->mode & 07777);
  write_octal(header->uid, sizeof header->uid, entry->uid);
  write_octal(header->gid, sizeof header->gid, entry->gid);
  write_octal(header->size, sizeof header->size, entry->bytes);
  write_octal(header->mtime, sizeof header->mtime, (uint64_t)time);
  header->type = '0';
  memcpy(header->magic, "ustar\00000", sizeof header->magic);
  write_octal(header->dev_major, sizeof header->dev_major, 0);
  write_octal(header->dev_minor, sizeof header->dev_minor, 0);
  write_checksum(header);
  return true;
}

/* The content's end is filled up to a block. Returns where the next file begins; 0: there is no room. */
static size_t end_of_file(char *output, size_t room, size_t at, uint64_t bytes) {
  if (room - at < BLOCK || bytes > room - at - BLOCK) return 0;
  const size_t end = at + BLOCK + bytes, padding = (BLOCK - bytes % BLOCK) % BLOCK;
  if (padding > room - end) return 0;
  memset(output + end, 0, padding);
  return end + padding;
}

/*
 * tarHeaders(entries, directory, latest, output): a Uint32Array of where each file's content belongs,
 * and of where the last one ends; up to the first entry that is none of those, or has no room.
 */
static napi_value call_tar_headers(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  struct pack pack;
  const void *entries, *directory, *output;
  size_t size, room;
  if (!read_bytes(&args, 0, &entries, &size) ||
      !read_bytes(&args, 1, &directory, &pack.directory_size) ||
      !read_int64(&args, 2, &pack.latest) || !read_bytes(&args, 3, &output, &room)) {
    return NULL;
  }
  pack.directory = directory;
  if (room > UINT32_MAX) room = UINT32_MAX;
  uint32_t *starts = malloc((room / BLOCK + 1) * sizeof *starts);
  if (starts == NULL) return throw_errno(env, "malloc", NULL);
  size_t count = 0, used = 0;
  struct entry entry;
  const char *bytes = entries;
  for (size_t at = 0; at < size && read_entry(bytes + at, size - at, &entry); at += entry.size) {
    const size_t end = end_of_file((char *)output, room, used, entry.bytes);
    if (end == 0) break;
    struct header *const header = (struct header *)((char *)output + used);
    if (!write_header(&pack, &entry, bytes + at + sizeof entry, header)) break;
    starts[count++] = (uint32_t)(used + BLOCK);
    used = end;
  }
  starts[count++] = (uint32_t)used;
  void *copy;
  napi_value array, result = NULL;
  if (napi_create_arraybuffer(env, count * sizeof *starts, &copy, &array) == napi_ok) {
    memcpy(copy, starts, count * sizeof *starts);
    napi_create_typedarray(env, napi_uint32_array, count, array, 0, &result);
  }
  free(starts);
  return result;
}

struct file {
  const char *name;
  size_t size;
  char *content;
};

struct reading {
  int dir_fd;
  struct file *files;
};

/* A file that is not what was listed is no failure of a call: it has no name. */
static void read_part(struct part *part) {
  const struct reading *reading = part->data;
  for (size_t i = part->start; i < part->end; i++) {
    const struct file *file = &reading->files[i];
    if (read_plain(reading->dir_fd, file->name, file->content, file->size) == (ssize_t)file->size) {
      continue;
    }
    part->call = "read";
    return;
  }
}

/* How many were found; fewer where there is no room for one. */
static size_t find_files(const char *entries, size_t size, const uint32_t *starts, size_t count,
                         char *output, size_t room, struct file *files) {
  size_t found = 0;
  struct entry entry;
  for (size_t at = 0; found < count && read_entry(entries + at, size - at, &entry); at += entry.size) {
    const size_t start = starts[found];
    if (start > room || entry.bytes > room - start) break;
    files[found++] = (struct file){entries + at + sizeof entry, entry.bytes, output + start};
  }
  return found;
}

/* readFiles([dirFd, entries], starts, output): whether every one is as plain, and as long, as listed. */
static napi_value call_read_files(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  struct arguments from = {.env = env};
  struct reading reading;
  const void *entries, *output;
  size_t size, room, length = 0;
  napi_typedarray_type type = napi_int8_array;
  void *starts = NULL;
  if (!read_list(&args, 0, &from) || !read_int(&from, 0, &reading.dir_fd) ||
      !read_bytes(&from, 1, &entries, &size) || !read_bytes(&args, 2, &output, &room)) {
    return NULL;
  }
  napi_get_typedarray_info(env, args.values[1], &type, &length, &starts, NULL, NULL);
  if (type != napi_uint32_array || length == 0) {
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "Expected what tarHeaders() gave");
    return NULL;
  }
  /* The last one is where they end. */
  const size_t count = length - 1;
  reading.files = malloc(length * sizeof *reading.files);
  if (reading.files == NULL) return throw_errno(env, "malloc", NULL);
  struct part failed;
  const bool is_read =
      find_files(entries, size, starts, count, (char *)output, room, reading.files) == count &&
      in_parts(count, FILES_WORTH_A_THREAD, read_part, &reading, &failed);
  free(reading.files);
  napi_value result;
  return napi_get_boolean(env, is_read, &result) == napi_ok ? result : NULL;
}

const struct binding pack_files_bindings[] = {
    {"tarHeaders", call_tar_headers},
    {"readFiles", call_read_files},
    {NULL, NULL},
};
