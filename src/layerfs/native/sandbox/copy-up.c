/*
 * The content of a directory into a new tmpfs over it, as the option tmpcopyup wants. The source is
 * the image's: it is walked by descriptors and no link of it is followed.
 */
#include "bundle.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const step = "copy a directory into a tmpfs";

static void give_attributes(int fd, const struct stat *status, const char *detail) {
  const struct timespec times[2] = {status->st_atim, status->st_mtim};
  if (fchown(fd, status->st_uid, status->st_gid) != 0 && errno != EINVAL) fail(step, errno, detail);
  if (fchmod(fd, status->st_mode & 07777) != 0) fail(step, errno, detail);
  futimens(fd, times);
}

static void copy_file(int from, int to, const char *name) {
  struct stat status;
  const int source = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  const int target = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (source < 0 || target < 0 || fstat(source, &status) != 0) fail(step, errno, name);
  ssize_t sent;
  while ((sent = sendfile(target, source, NULL, 1 << 20)) > 0) continue;
  if (sent < 0) fail(step, errno, name);
  give_attributes(target, &status, name);
  close(source);
  close(target);
}

static void copy_link(int from, int to, const char *name, const struct stat *status) {
  char target[PATH_MAX];
  const ssize_t size = readlinkat(from, name, target, sizeof target - 1);
  if (size < 0) fail(step, errno, name);
  target[size] = '\0';
  if (symlinkat(target, to, name) != 0) fail(step, errno, name);
  (void)!fchownat(to, name, status->st_uid, status->st_gid, AT_SYMLINK_NOFOLLOW);
}

static void copy_directory(int from, int to, const char *name) {
  if (mkdirat(to, name, 0700) != 0) fail(step, errno, name);
  const int source = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  const int target = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (source < 0 || target < 0) fail(step, errno, name);
  copy_up(source, target, name);
  close(source);
  close(target);
}

static void copy_entry(int from, int to, const char *name) {
  struct stat status;
  if (fstatat(from, name, &status, AT_SYMLINK_NOFOLLOW) != 0) fail(step, errno, name);
  if (S_ISDIR(status.st_mode)) copy_directory(from, to, name);
  if (S_ISREG(status.st_mode)) copy_file(from, to, name);
  if (S_ISLNK(status.st_mode)) copy_link(from, to, name, &status);
  if (S_ISFIFO(status.st_mode) && mknodat(to, name, status.st_mode, 0) != 0) fail(step, errno, name);
}

/* Depth is bounded by the descriptors: an image that nests deeper gets EMFILE. */
void copy_up(int from, int to, const char *detail) {
  struct stat status;
  const int listed = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *directory = listed < 0 ? NULL : fdopendir(listed);
  if (directory == NULL || fstat(from, &status) != 0) fail(step, errno, detail);
  for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    copy_entry(from, to, entry->d_name);
  }
  closedir(directory);
  const int target = openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (target < 0) fail(step, errno, detail);
  give_attributes(target, &status, detail);
  close(target);
}
