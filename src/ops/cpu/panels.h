// Moves between rows and the panels that matrix kernels read, for the two that MLA's one cached key becomes: rows of
// tokens, and panels whose inputs are tokens. Numbers are moved as they are, in the kernel's own type.
#pragma once

#include "kernels/table.h"

namespace cachalot {

// Panels whose outputs are `tokens` tokens -> rows of tokens, the first `dim` components of each; rows are dim
// numbers apart. bf16: dim is even.
void tokens_to_rows(const KernelTable& kernels, const MatmulKernel& kernel, const std::byte* panels,
                    int64_t panel_dim, int tokens, int64_t dim, void* rows);

// Rows of inputs (row k holds input k of all `outputs` outputs, `row_bytes` apart) -> panels, `panel_bytes` apart, of
// which the units of these inputs are written. bf16: an even number of inputs. Outputs that are missing become zeros.
void inputs_to_panels(const MatmulKernel& kernel, const void* rows, int64_t row_bytes, int64_t inputs,
                      int64_t outputs, std::byte* panels, int64_t panel_bytes);

}  // namespace cachalot
