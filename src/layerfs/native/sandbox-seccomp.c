#include "sandbox.h"
void load_seccomp(uint64_t capabilities) { (void)capabilities; }
