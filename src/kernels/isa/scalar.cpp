// Every processor: four lanes of the portable vectors.
#include "kernels/simd/scalar.h"

#include "kernels/generic/kernels.h"
#include "kernels/isa/tables.h"

namespace cachalot {

const KernelTable kScalarKernels = generic_kernels("scalar", cpu_runs_anything);

}  // namespace cachalot
