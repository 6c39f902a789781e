#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "kernels/isa/tables.h"

namespace cachalot {

// The compiler's cpuid helper reports AVX and AVX-512 only where the operating system saves their registers (XCR0).
bool cpu_runs_anything() noexcept { return true; }
bool cpu_runs_avx2() noexcept {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
bool cpu_runs_avx512() noexcept {
  return cpu_runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
bool cpu_runs_avx512_bf16() noexcept {
  return cpu_runs_avx512() && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi") &&
         __builtin_cpu_supports("avx512bf16");
}

// Tiles are large, so Linux saves them only for processes that have asked (Documentation/arch/x86/xstate.rst); once
// granted, for all of their threads. gcc 12's helper does not know AMX: its bits are in leaf 7.
bool cpu_runs_avx512_amx() noexcept {
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24, kInt8 = 1u << 25, kAll = kBf16 | kTile | kInt8;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  unsigned a = 0, b = 0, c = 0, d = 0;
  return cpu_runs_avx512_bf16() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kAll) == kAll &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

static constexpr std::array<const KernelTable*, 5> kBestFirst = {&kAvx512AmxKernels, &kAvx512Bf16Kernels,
                                                                 &kAvx512Kernels, &kAvx2Kernels, &kScalarKernels};

std::span<const KernelTable* const> all_kernels() { return kBestFirst; }

static std::string usable_names() {
  std::string names;
  for (const KernelTable* table : kBestFirst)
    if (table->usable()) names += (names.empty() ? "" : ", ") + std::string(table->isa);
  return names;
}

const KernelTable& best_kernels() {
  const char* setting = std::getenv("CACHALOT_ISA");
  const std::string wanted = setting == nullptr ? "" : setting;
  const bool any = wanted.empty();
  for (const KernelTable* table : kBestFirst) {
    if (!any && wanted != table->isa) continue;
    if (table->usable()) return *table;
    if (!any)
      throw Error("this processor cannot run '" + wanted + "'")
          .in("CACHALOT_ISA")
          .hint("usable here: " + usable_names());
  }
  throw Error("unknown instruction set '" + wanted + "'").in("CACHALOT_ISA").hint("usable here: " + usable_names());
}

}  // namespace cachalot
