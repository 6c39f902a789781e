// Memory that runs out where a test wants it to. Replaces operator new, so one file of a program includes it.
#pragma once

#include <cstdlib>
#include <new>

namespace cachalot::testing {

// After so many further allocations of this thread, so many fail.
struct ScarceMemory {
  int spared = 0, failing = 0;
};
inline thread_local ScarceMemory scarce_memory;

}  // namespace cachalot::testing

// Not inlined, lest one of a pair is and the compiler takes it for a mismatch.
[[gnu::noinline]] void* operator new(size_t bytes) {
  auto& [spared, failing] = cachalot::testing::scarce_memory;
  if (failing > 0 && spared-- <= 0) {
    --failing;
    throw std::bad_alloc();
  }
  if (void* memory = std::malloc(bytes > 0 ? bytes : 1)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(size_t bytes, const std::nothrow_t&) noexcept {  // std::stable_sort's
  return std::malloc(bytes > 0 ? bytes : 1);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }
