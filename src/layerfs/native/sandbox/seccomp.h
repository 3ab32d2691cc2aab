/* The system call filter as a program for the kernel; see seccomp.c. */
#ifndef SANDBOX_SECCOMP_H
#define SANDBOX_SECCOMP_H

#include <linux/filter.h>
#include <stdint.h>

enum { SECCOMP_ROOM = 512 };

/* Writes the filter for a container with these capabilities (bit N: number N) into `code`, and
 * gives its length. */
unsigned short seccomp_program(uint64_t capabilities, struct sock_filter code[SECCOMP_ROOM]);

#endif
