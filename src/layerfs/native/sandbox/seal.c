/*
 * A copy of this program in memory that nobody can change, for containers whose processes may see
 * ours: one that runs /proc/self/exe would otherwise hold the host's file, and could write it as
 * soon as we have ended (CVE-2019-5736).
 */
#include "bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

static void copy(int from, int to) {
  struct stat status;
  if (fstat(from, &status) != 0) fail("copy the program", errno, "");
  for (off_t left = status.st_size; left > 0;) {
    const ssize_t sent = sendfile(to, from, NULL, (size_t)left);
    if (sent <= 0) fail("copy the program", errno, "");
    left -= sent;
  }
}

void run_sealed(char **words) {
  const int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (self < 0) fail("copy the program", errno, "/proc/self/exe");
  if (fcntl(self, F_GET_SEALS) == seals) {
    close(self);
    return;
  }
  const int sealed = memfd_create("sandbox", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (sealed < 0) fail("copy the program", errno, "memfd_create");
  copy(self, sealed);
  if (fcntl(sealed, F_ADD_SEALS, seals) != 0) fail("copy the program", errno, "seal");
  char *none[] = {NULL};
  fexecve(sealed, words, none);
  fail("copy the program", errno, "fexecve");
}
