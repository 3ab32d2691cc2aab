/* What making a file and copying one have in common. */
#ifndef NEW_FILE_H
#define NEW_FILE_H

#include "syscalls.h"

#include <sys/types.h>
#include <time.h>

struct attributes {
  mode_t mode;
  uid_t uid;
  gid_t gid;
  struct timespec time;
};

/* An argument that is a Float64Array of so many. */
bool read_numbers(const struct arguments *args, size_t index, size_t count, const double **numbers);

/* The five numbers that mode, uid, gid, seconds and nanoseconds are, in this order. */
struct attributes attributes_in(const double *numbers);

/* All of it, or false with errno. */
bool write_all(int fd, const char *data, size_t size);

/* Owner, mode and times of an open file. On failure `call` names what failed. */
bool set_attributes(int fd, const struct attributes *wanted, const char **call);

struct new_file {
  int dir_fd;
  const char *path;
  const void *content;
  size_t size;
  const struct attributes *attributes;
};

/* What is left of a file that could not be made, with errno and the `call` that failed. */
enum made { DONE, NOTHING_MADE, HALF_MADE };

enum made make_file(const struct new_file *file, const char **call);

#endif
