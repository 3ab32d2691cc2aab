/*
 * A directory with what statx tells of each entry, as one buffer: the ways into JavaScript and back
 * cost more than the calls (ten thousand files: 15 ms instead of 110, measured). Several threads ask.
 */
#define _GNU_SOURCE
#include "list.h"
#include "parts.h"
#include "syscalls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What grows; `entries` are offsets, as the bytes move. */
struct list {
  char *bytes;
  size_t used, room;
  size_t *entries;
  size_t count, entry_room;
};

static bool make_room(struct list *list, size_t size) {
  if (list->used + size > list->room) {
    size_t room = (list->room + size) * 2;
    char *bytes = realloc(list->bytes, room);
    if (bytes == NULL) return false;
    list->bytes = bytes;
    list->room = room;
  }
  if (list->count == list->entry_room) {
    size_t room = list->entry_room * 2 + 64;
    size_t *entries = realloc(list->entries, room * sizeof *entries);
    if (entries == NULL) return false;
    list->entries = entries;
    list->entry_room = room;
  }
  return true;
}

/* Of which nothing is known yet but its name, and of what type it is. */
static bool add_name(struct list *list, const char *name, unsigned char type) {
  const size_t name_size = strlen(name);
  const size_t size = (sizeof(struct entry) + name_size + 8) & ~(size_t)7;
  if (!make_room(list, size)) return false;
  const struct entry entry = {
      .size = (uint32_t)size, .name_size = (uint32_t)name_size, .mode = DTTOIF(type)};
  char *place = list->bytes + list->used;
  memset(place, 0, size);
  memcpy(place, &entry, sizeof entry);
  memcpy(place + sizeof entry, name, name_size);
  list->entries[list->count++] = list->used;
  list->used += size;
  return true;
}

static void fill_entry(struct entry *entry, const struct statx *stat) {
  *entry = (struct entry){
      .size = entry->size,
      .name_size = entry->name_size,
      .mode = stat->stx_mode,
      .uid = stat->stx_uid,
      .gid = stat->stx_gid,
      .links = stat->stx_nlink,
      .dev_major = stat->stx_dev_major,
      .dev_minor = stat->stx_dev_minor,
      .rdev_major = stat->stx_rdev_major,
      .rdev_minor = stat->stx_rdev_minor,
      .ino = stat->stx_ino,
      .bytes = stat->stx_size,
      .blocks = stat->stx_blocks,
      .mtime = stat->stx_mtime.tv_sec,
      .ctime = stat->stx_ctime.tv_sec,
      .mtime_nanoseconds = stat->stx_mtime.tv_nsec,
      .ctime_nanoseconds = stat->stx_ctime.tv_nsec,
  };
}

/* False: errno. */
static bool read_names(DIR *directory, struct list *list) {
  errno = 0;
  for (struct dirent *found; (found = readdir(directory)) != NULL; errno = 0) {
    if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0) continue;
    if (add_name(list, found->d_name, found->d_type)) continue;
    errno = ENOMEM;
    return false;
  }
  return errno == 0;
}

/* So many calls take as long as a thread does to start. */
enum { WORTH_A_THREAD = 128 };

struct looks {
  int fd;
  const struct list *list;
  /* Whether types are all that is wanted: some file systems do not tell them. */
  bool are_types_enough;
};

/* What vanished since it was listed has no mode, and is left out. */
static void look_at_part(struct part *part) {
  const struct looks *looks = part->data;
  const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
  for (size_t i = part->start; i < part->end; i++) {
    struct entry *const entry = (struct entry *)(looks->list->bytes + looks->list->entries[i]);
    const char *name = (const char *)(entry + 1);
    if (looks->are_types_enough && entry->mode != 0) continue;
    entry->mode = 0;
    struct statx stat;
    if (statx(looks->fd, name, flags, STATX_BASIC_STATS, &stat) == 0) fill_entry(entry, &stat);
    else if (errno != ENOENT) {
      *part = (struct part){.call = "statx", .name = name, .failure = errno};
      return;
    }
  }
}

static int by_name(const void *one, const void *other, void *list) {
  const char *bytes = ((struct list *)list)->bytes;
  return strcmp(bytes + *(const size_t *)one + sizeof(struct entry),
                bytes + *(const size_t *)other + sizeof(struct entry));
}

static napi_value sorted(napi_env env, struct list *list) {
  size_t size = 0, count = 0;
  for (size_t i = 0; i < list->count; i++) {
    const struct entry *entry = (const struct entry *)(list->bytes + list->entries[i]);
    if (entry->mode == 0) continue;
    size += entry->size;
    list->entries[count++] = list->entries[i];
  }
  if (count > 1) qsort_r(list->entries, count, sizeof *list->entries, by_name, list);
  void *data;
  napi_value result = NULL;
  if (napi_create_buffer(env, size, &data, &result) != napi_ok) return NULL;
  char *place = data;
  for (size_t i = 0; i < count; i++) {
    const struct entry *entry = (const struct entry *)(list->bytes + list->entries[i]);
    memcpy(place, entry, entry->size);
    place += entry->size;
  }
  return result;
}

static napi_value listed(napi_env env, DIR *directory, struct list *list, bool are_types_enough) {
  if (!read_names(directory, list)) return throw_errno(env, "readdir", NULL);
  struct looks looks = {dirfd(directory), list, are_types_enough};
  struct part failed;
  if (in_parts(list->count, WORTH_A_THREAD, look_at_part, &looks, &failed)) return sorted(env, list);
  errno = failed.failure;
  return throw_errno(env, failed.call, failed.name);
}

static napi_value list_directory(napi_env env, napi_callback_info info, bool are_types_enough) {
  struct arguments args = arguments_of(env, info);
  int fd;
  if (!read_int(&args, 0, &fd)) return NULL;
  int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *directory = own < 0 ? NULL : fdopendir(own);
  if (directory == NULL) {
    if (own >= 0) close(own);
    return throw_errno(env, "readdir", NULL);
  }
  struct list list = {0};
  napi_value result = listed(env, directory, &list, are_types_enough);
  closedir(directory);
  free(list.bytes);
  free(list.entries);
  return result;
}

static napi_value call_list_directory(napi_env env, napi_callback_info info) {
  return list_directory(env, info, false);
}

static napi_value call_list_types(napi_env env, napi_callback_info info) {
  return list_directory(env, info, true);
}

bool read_entry(const char *bytes, size_t left, struct entry *entry) {
  if (left <= sizeof *entry) return false;
  memcpy(entry, bytes, sizeof *entry);
  return entry->size > sizeof *entry && entry->size <= left &&
         entry->name_size <= entry->size - sizeof *entry;
}

/* The number of entries, where each begins, where the last one ends, when one of them was changed last
 * (two numbers), which ones are no files of one name. As u32, as `Listing` reads them. Returns how many
 * numbers; 0: it is no listing. */
static size_t index_entries(const char *bytes, size_t size, uint32_t *index, size_t count) {
  size_t at = 0, used = 1, others = count + 4;
  int64_t latest = INT64_MIN;
  while (at < size) {
    struct entry entry;
    if (!read_entry(bytes + at, size - at, &entry)) return 0;
    if (!S_ISREG(entry.mode) || entry.links > 1) index[others++] = (uint32_t)(used - 1);
    if (entry.ctime > latest) latest = entry.ctime;
    index[used++] = (uint32_t)at;
    at += entry.size;
  }
  index[used] = (uint32_t)at;
  memcpy(&index[used + 1], &latest, sizeof latest);
  index[0] = (uint32_t)count;
  return others;
}

size_t count_entries(const char *bytes, size_t size) {
  size_t count = 0;
  struct entry entry;
  for (size_t at = 0; at < size && read_entry(bytes + at, size - at, &entry); at += entry.size) {
    count++;
  }
  return count;
}

/* A Uint32Array, or null for bytes that are no listing. */
static napi_value call_index_listing(napi_env env, napi_callback_info info) {
  struct arguments args = arguments_of(env, info);
  const void *bytes;
  size_t size;
  if (!read_bytes(&args, 0, &bytes, &size)) return NULL;
  const size_t count = count_entries(bytes, size);
  void *index;
  napi_value array, result;
  /* Should all of them be others. */
  if (napi_create_arraybuffer(env, (2 * count + 4) * sizeof(uint32_t), &index, &array) != napi_ok) {
    return NULL;
  }
  const size_t used = size > UINT32_MAX ? 0 : index_entries(bytes, size, index, count);
  if (used == 0) return napi_get_null(env, &result) == napi_ok ? result : NULL;
  const bool is_made =
      napi_create_typedarray(env, napi_uint32_array, used, array, 0, &result) == napi_ok;
  return is_made ? result : NULL;
}

const struct binding list_bindings[] = {
    {"listDirectory", call_list_directory},
    {"listTypes", call_list_types},
    {"indexListing", call_index_listing},
    {NULL, NULL},
};
