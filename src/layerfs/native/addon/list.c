/*
 * A directory with what statx tells of each entry, as one buffer: the ways into JavaScript and back
 * cost more than the calls (ten thousand files: 15 ms instead of 110, measured).
 */
#define _GNU_SOURCE
#include "list.h"
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

static bool add_entry(struct list *list, const char *name, const struct statx *stat) {
  const size_t name_size = strlen(name);
  const size_t size = (sizeof(struct entry) + name_size + 8) & ~(size_t)7;
  if (!make_room(list, size)) return false;
  const struct entry entry = {
      .size = (uint32_t)size,
      .name_size = (uint32_t)name_size,
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
  char *place = list->bytes + list->used;
  memset(place, 0, size);
  memcpy(place, &entry, sizeof entry);
  memcpy(place + sizeof entry, name, name_size);
  list->entries[list->count++] = list->used;
  list->used += size;
  return true;
}

/* What vanished since it was listed is not there. False: errno, with the name that it is about. */
static bool read_entries(DIR *directory, struct list *list, struct name *failed) {
  const unsigned mask = STATX_BASIC_STATS;
  errno = 0;
  for (struct dirent *found; (found = readdir(directory)) != NULL; errno = 0) {
    if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0) continue;
    struct statx stat;
    const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
    if (statx(dirfd(directory), found->d_name, flags, mask, &stat) != 0) {
      if (errno == ENOENT) continue;
      strcpy(failed->text, found->d_name);
      return false;
    }
    if (!add_entry(list, found->d_name, &stat)) {
      errno = ENOMEM;
      return false;
    }
  }
  return errno == 0;
}

static int by_name(const void *one, const void *other, void *list) {
  const char *bytes = ((struct list *)list)->bytes;
  return strcmp(bytes + *(const size_t *)one + sizeof(struct entry),
                bytes + *(const size_t *)other + sizeof(struct entry));
}

static napi_value sorted(napi_env env, struct list *list) {
  if (list->count > 1) {
    qsort_r(list->entries, list->count, sizeof *list->entries, by_name, list);
  }
  void *data;
  napi_value result = NULL;
  if (napi_create_buffer(env, list->used, &data, &result) != napi_ok) return NULL;
  char *place = data;
  for (size_t i = 0; i < list->count; i++) {
    const char *entry = list->bytes + list->entries[i];
    uint32_t size;
    memcpy(&size, entry, sizeof size);
    memcpy(place, entry, size);
    place += size;
  }
  return result;
}

static napi_value call_list_directory(napi_env env, napi_callback_info info) {
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
  struct name failed = {""};
  const bool is_read = read_entries(directory, &list, &failed);
  const int failure = errno;
  closedir(directory);
  errno = failure;
  napi_value result = is_read ? sorted(env, &list)
                              : throw_errno(env, failed.text[0] == '\0' ? "readdir" : "statx",
                                            failed.text[0] == '\0' ? NULL : failed.text);
  free(list.bytes);
  free(list.entries);
  return result;
}

bool read_entry(const char *bytes, size_t left, struct entry *entry) {
  if (left <= sizeof *entry) return false;
  memcpy(entry, bytes, sizeof *entry);
  return entry->size > sizeof *entry && entry->size <= left &&
         entry->name_size <= entry->size - sizeof *entry;
}

/* The number of entries, where each begins, where the last one ends, which ones are no files of one
 * name. As u32, as `Listing` reads them. Returns how many numbers; 0: it is no listing. */
static size_t index_entries(const char *bytes, size_t size, uint32_t *index, size_t count) {
  size_t at = 0, used = 1, others = count + 2;
  while (at < size) {
    struct entry entry;
    if (!read_entry(bytes + at, size - at, &entry)) return 0;
    if (!S_ISREG(entry.mode) || entry.links > 1) index[others++] = (uint32_t)(used - 1);
    index[used++] = (uint32_t)at;
    at += entry.size;
  }
  index[used] = (uint32_t)at;
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
  if (napi_create_arraybuffer(env, (2 * count + 2) * sizeof(uint32_t), &index, &array) != napi_ok) {
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
    {"indexListing", call_index_listing},
    {NULL, NULL},
};
