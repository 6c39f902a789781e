// The tables, one per file of this folder, and what a processor must have to run each. The processor tests are
// defined in dispatch.cpp: a file compiled for AVX-512 may not even ask the question.
#pragma once

#include <utility>

#include "kernels/table.h"

namespace cachalot {

extern const KernelTable kScalarKernels, kAvx2Kernels, kAvx512Kernels, kAvx512Bf16Kernels, kAvx512AmxKernels;

bool cpu_runs_anything() noexcept;
bool cpu_runs_avx2() noexcept;         // AVX2, FMA, F16C
bool cpu_runs_avx512() noexcept;       // and AVX-512 F, BW, VL, DQ
bool cpu_runs_avx512_bf16() noexcept;  // and AVX-512 VNNI, VBMI, BF16
bool cpu_runs_avx512_amx() noexcept;   // and AMX TILE, INT8, BF16, which the system lends to those who ask

}  // namespace cachalot
