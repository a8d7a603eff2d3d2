/*
 * Lets User-Mode Linux run on processors with a larger register file than it knows (AMX: Intel Sapphire Rapids and later).
 *
 * Before 6.13 it saves a guest process's registers in 2,696 bytes, by PTRACE_GETREGSET and PTRACE_SETREGSET with
 * NT_X86_XSTATE. The host gives as much as asked for, but takes back nothing less than the whole area (EFAULT
 * otherwise), and the guest dies at its first process. Preloaded, this completes what is set with what is there.
 * Guest processes never use the registers that are cut off: the host gives them to who asks arch_prctl(2) only.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

long ptrace(enum __ptrace_request request, ...) {
  static long (*next)(enum __ptrace_request, ...);
  if (!next) next = (long (*)(enum __ptrace_request, ...))dlsym(RTLD_NEXT, "ptrace");
  va_list arguments;
  va_start(arguments, request);
  int process = va_arg(arguments, int);
  void *address = va_arg(arguments, void *);
  void *data = va_arg(arguments, void *);
  va_end(arguments);
  if (request != PTRACE_SETREGSET || address != (void *)NT_X86_XSTATE) return next(request, process, address, data);

  static char area[1 << 16] __attribute__((aligned(64)));
  const struct iovec *given = data;
  struct iovec whole = {area, sizeof area};
  if (next(PTRACE_GETREGSET, process, address, &whole) != 0 || whole.iov_len <= given->iov_len)
    return next(request, process, address, data);
  memcpy(area, given->iov_base, given->iov_len);
  return next(request, process, address, &whole);
}
