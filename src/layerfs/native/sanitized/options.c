/*
 * Linked into the sandbox when it is built with sanitizers (scripts/sanitize.mjs). It is started
 * with an empty environment, so what is usually said in ASAN_OPTIONS is said here.
 */

/* What ends by _exit() has no leaks to count. 99: no exit code of ours. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0:exitcode=99:abort_on_error=0"; }

const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void) { return "print_stacktrace=1:halt_on_error=1:exitcode=99"; }
