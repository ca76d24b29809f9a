// Preloaded, it makes allocations of libtorch's tensors fail from a certain one on. Those of oneDNN, which is in the same
// process, do not fail: it reads through a null pointer then.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// Allocations to go; negative: none fails.
static long left = -1;
// Allocations to fail; negative: all.
static long failing = -1;
static long failed = 0;

// The code of libc10, which allocates tensors.
static uintptr_t begin, end;

static int find(struct dl_phdr_info* info, size_t size, void* found) {
  (void)size;
  (void)found;
  if (!info->dlpi_name || !strstr(info->dlpi_name, "libc10.so")) return 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    if (info->dlpi_phdr[i].p_type != PT_LOAD || !(info->dlpi_phdr[i].p_flags & PF_X)) continue;
    begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
    end = begin + info->dlpi_phdr[i].p_memsz;
  }
  return 1;
}

void starve(long after, long count) {
  if (!end) dl_iterate_phdr(find, NULL);
  __atomic_store_n(&failed, 0, __ATOMIC_SEQ_CST);
  __atomic_store_n(&failing, count, __ATOMIC_SEQ_CST);
  __atomic_store_n(&left, after, __ATOMIC_SEQ_CST);
}

long feed(void) {
  __atomic_store_n(&left, -1, __ATOMIC_SEQ_CST);
  return __atomic_load_n(&failed, __ATOMIC_SEQ_CST);
}

int posix_memalign(void** place, size_t alignment, size_t size) {
  static int (*real)(void**, size_t, size_t);
  if (!real) real = (int (*)(void**, size_t, size_t))dlsym(RTLD_NEXT, "posix_memalign");
  if (__atomic_load_n(&left, __ATOMIC_SEQ_CST) >= 0 && begin <= (uintptr_t)__builtin_return_address(0) &&
      (uintptr_t)__builtin_return_address(0) < end) {
    const long now = __atomic_fetch_sub(&left, 1, __ATOMIC_SEQ_CST);
    if (now <= 0) {
      // Stays at 0 until `feed`.
      __atomic_store_n(&left, 0, __ATOMIC_SEQ_CST);
      const long number = __atomic_fetch_add(&failed, 1, __ATOMIC_SEQ_CST);
      const long most = __atomic_load_n(&failing, __ATOMIC_SEQ_CST);
      if (most < 0 || number < most) return ENOMEM;
    }
  }
  return real(place, alignment, size);
}
