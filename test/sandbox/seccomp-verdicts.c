/*
 * Runs the system call filter as the kernel would, over every number of every architecture, and
 * prints "ARCHITECTURE NUMBER VERDICT" each: 0 for allowed, else the errno. The argument is 0.
 * Compiled together with sandbox-seccomp.c; the first argument is the set of capabilities.
 */
#include "sandbox.h"
#include "seccomp.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sandbox sandbox;

void fail(const char *step, int error, const char *detail) {
  fprintf(stderr, "%s: %d %s\n", step, error, detail);
  exit(1);
}

static unsigned judge(const struct sock_filter *code, const struct seccomp_data *data) {
  uint32_t loaded = 0;
  for (unsigned at = 0;; at++) {
    const struct sock_filter *step = &code[at];
    switch (step->code) {
      case BPF_LD | BPF_W | BPF_ABS:
        memcpy(&loaded, (const char *)data + step->k, sizeof loaded);
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        at += loaded >= step->k ? step->jt : step->jf;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += loaded == step->k ? step->jt : step->jf;
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        at += (loaded & step->k) != 0 ? step->jt : step->jf;
        break;
      case BPF_RET | BPF_K:
        return step->k == SECCOMP_RET_ALLOW ? 0 : step->k & SECCOMP_RET_DATA;
      default:
        fail("judge", (int)step->code, "");
    }
  }
}

int main(int count, char **arguments) {
  static const struct {
    const char *name;
    uint32_t value;
  } architectures[] = {
#if defined(__x86_64__)
      {"x86_64", AUDIT_ARCH_X86_64},
      {"i386", AUDIT_ARCH_I386},
#elif defined(__aarch64__)
      {"aarch64", AUDIT_ARCH_AARCH64},
#endif
      {"other", AUDIT_ARCH_MIPS},
  };
  struct sock_filter code[SECCOMP_ROOM];
  seccomp_program(count > 1 ? strtoull(arguments[1], NULL, 16) : 0, code);
  for (size_t i = 0; i < sizeof architectures / sizeof architectures[0]; i++) {
    for (int number = -1; number < 600; number++) {
      const struct seccomp_data data = {.nr = number, .arch = architectures[i].value};
      printf("%s %d %u\n", architectures[i].name, number, judge(code, &data));
    }
  }
  return 0;
}
