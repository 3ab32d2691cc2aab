/*
 * Tells what system calls answer: one line "NAME ERRNO" each, 0 for success. Run inside a sandbox;
 * arguments are such that a call that is let through fails for another reason or does no harm.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void tell(const char *name, long result) {
  printf("%s %d\n", name, result < 0 ? errno : 0);
  fflush(stdout);
}

#if defined(__x86_64__)
/* A call by the i386 way into the kernel. */
static long call_i386(long number, long argument) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(argument), "c"(0), "d"(0) : "memory");
  if (result >= 0) return result;
  errno = (int)-result;
  return -1;
}
#endif

int main(void) {
  tell("unshare", unshare(CLONE_NEWNS));
  tell("unshare-user", unshare(CLONE_NEWUSER));
  tell("mount", syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, 0));
  tell("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
  tell("keyctl", syscall(SYS_keyctl, 0, 0, 0, 0, 0));
  tell("bpf", syscall(SYS_bpf, 0, 0, 0));
  tell("io_uring_setup", syscall(SYS_io_uring_setup, 1, 0));
  tell("userfaultfd", syscall(SYS_userfaultfd, 0));
  tell("clone3", syscall(SYS_clone3, 0, 0));
  tell("clone-newuser", syscall(SYS_clone, CLONE_NEWUSER, 0, 0, 0, 0));
  tell("newer", syscall(900, 0));
  tell("socket-alg", socket(38, SOCK_SEQPACKET, 0));
  tell("socket-alg-high", syscall(SYS_socket, 0x100000026L, SOCK_SEQPACKET, 0));
  tell("socket-vsock", socket(40, SOCK_STREAM, 0));
  tell("socket-inet", socket(AF_INET, SOCK_STREAM, 0));
  tell("socket-unix", socket(AF_UNIX, SOCK_STREAM, 0));
  tell("personality-query", syscall(SYS_personality, 0xffffffffL));
  tell("personality-no-randomize", syscall(SYS_personality, 0x0040000L));
  tell("chroot", chroot("/"));
  tell("acct", syscall(SYS_acct, 0));
#if defined(__x86_64__)
  tell("x32-getpid", syscall(0x40000000 + SYS_getpid));
  tell("i386-getpid", call_i386(20, 0));
  tell("i386-unshare", call_i386(310, CLONE_NEWNS));
#endif
  return 0;
}
