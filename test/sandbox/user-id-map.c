/*
 * For rootless.test.ts, where Debian's `uidmap` is not installed: newuidmap and newgidmap without
 * their checks. It is set-id root in a mount namespace that only the test has.
 */
#include <libgen.h>
#include <stdio.h>
#include <string.h>

int main(int count, char **words) {
  char path[64];
  const char *map = strcmp(basename(words[0]), "newgidmap") == 0 ? "gid_map" : "uid_map";
  snprintf(path, sizeof path, "/proc/%s/%s", words[1], map);
  FILE *file = fopen(path, "w");
  if (file == NULL) return 1;
  char text[4096] = "";
  for (int i = 2; i + 2 < count; i += 3) {
    const size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, "%s %s %s\n", words[i], words[i + 1], words[i + 2]);
  }
  return fputs(text, file) >= 0 && fclose(file) == 0 ? 0 : 1;
}
