/* Says one word to a Unix socket and prints what comes back: SOCKET WORD. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (argc != 3 || strlen(argv[1]) >= sizeof address.sun_path) return 2;
  strcpy(address.sun_path, argv[1]);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) return 1;
  if (write(fd, argv[2], strlen(argv[2])) < 0) return 1;
  char answer[256];
  ssize_t size = read(fd, answer, sizeof answer);
  if (size <= 0) return 1;
  printf("%.*s\n", (int)size, answer);
  return 0;
}
