/* The content and the attributes of a file that was just made. */
#define _GNU_SOURCE
#include "new-file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

bool read_numbers(const struct arguments *args, size_t index, size_t count, const double **numbers) {
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void *start = NULL;
  napi_get_typedarray_info(args->env, args->values[index], &type, &length, &start, NULL, NULL);
  *numbers = start;
  if (type == napi_float64_array && length == count) return true;
  napi_throw_type_error(args->env, "ERR_INVALID_ARG_TYPE", "Expected a Float64Array of another length");
  return false;
}

struct attributes attributes_in(const double *numbers) {
  return (struct attributes){
      .mode = (mode_t)numbers[0],
      .uid = (uid_t)numbers[1],
      .gid = (gid_t)numbers[2],
      .time = {(time_t)numbers[3], (long)numbers[4]},
  };
}

bool write_all(int fd, const char *data, size_t size) {
  while (size > 0) {
    const ssize_t written = write(fd, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    data += written;
    size -= (size_t)written;
  }
  return true;
}

/* Owner and mode are mostly right from the start; asking is cheaper than setting both. Owner first:
 * setting it clears setuid. */
bool set_attributes(int fd, const struct attributes *wanted, const char **call) {
  const struct timespec times[2] = {wanted->time, wanted->time};
  struct stat now;
  *call = "fstat";
  if (fstat(fd, &now) != 0) return false;
  const bool is_owned = now.st_uid == wanted->uid && now.st_gid == wanted->gid;
  *call = "fchown";
  if (!is_owned && fchown(fd, wanted->uid, wanted->gid) != 0) return false;
  *call = "fchmod";
  if ((!is_owned || (now.st_mode & 07777) != wanted->mode) && fchmod(fd, wanted->mode) != 0) return false;
  *call = "futimens";
  return futimens(fd, times) == 0;
}

/* Each call names itself before it can fail. */
static bool fill(int fd, const struct new_file *file, const char **call) {
  *call = "write";
  return write_all(fd, file->content, file->size) && set_attributes(fd, file->attributes, call);
}

enum made make_file(const struct new_file *file, const char **call) {
  const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  *call = "openat";
  const int fd = openat(file->dir_fd, file->path, flags, file->attributes->mode & 0777);
  if (fd < 0) return NOTHING_MADE;
  const bool is_filled = fill(fd, file, call);
  const int failure = errno;
  if (close(fd) != 0 && is_filled) {
    *call = "close";
    return HALF_MADE;
  }
  errno = failure;
  return is_filled ? DONE : HALF_MADE;
}
