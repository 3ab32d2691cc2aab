/*
 * Takes a descriptor away from where it belongs.
 *
 *   pass-descriptor keep SOCKET    waits for one, says so, and holds it until it is killed
 *   pass-descriptor give SOCKET    hands over its standard output
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int count, char **words) {
  if (count != 3) return 2;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", words[2]);
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control = {{0}};
  struct iovec part = {"x", 1};
  struct msghdr message = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof control.bytes};
  if (strcmp(words[1], "give") == 0) {
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    const int output = 1;
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof output);
    memcpy(CMSG_DATA(header), &output, sizeof output);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) return 3;
    return sendmsg(fd, &message, 0) == 1 ? 0 : 4;
  }
  char byte;
  part.iov_base = &byte;
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 1) != 0) return 5;
  printf("ready\n");
  fflush(stdout);
  const int connection = accept(fd, NULL, NULL);
  if (recvmsg(connection, &message, 0) != 1 || message.msg_controllen == 0) return 6;
  printf("has it\n");
  fflush(stdout);
  pause();
  return 0;
}
