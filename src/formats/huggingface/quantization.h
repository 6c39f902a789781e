// Quantized Hugging Face checkpoints. Block-wise FP8 is read as DeepSeek and Qwen publish it: X.weight in e4m3 and
// one factor for every block of it in X.weight_scale_inv. Everything else is refused by name. Layout:
// docs/formats.md.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "formats/checkpoint.h"
#include "formats/config.h"

namespace cachalot {

// The size of a block of weights that shares a factor; blocks at the edges of a matrix are partial.
struct Fp8Blocks {
  int rows, columns;  // columns: a multiple of kFp8BlockColumns
};
constexpr int kFp8BlockColumns = 128;

// Throws Error when there are tensors that only a quantization that is not read comes with (GPTQ's qweight …).
void refuse_packed_weights(const std::vector<StoredTensor>& tensors, const std::filesystem::path& folder);

// What config.json says of quantization; nothing when it says nothing. Throws Error for a quantization, a number
// format, an activation scheme or a size of blocks that is not read.
std::optional<Fp8Blocks> fp8_blocks(const Config& config);

// Gives every FP8 tensor its factors, which may lie in another file, and takes them out of the list. Throws Error
// when they are missing or of another shape or type, when an FP8 tensor is no matrix or stack of matrices, or when
// there are FP8 tensors but no `blocks`. The factors' values are not read.
void attach_scales(std::vector<StoredTensor>& tensors, const std::optional<Fp8Blocks>& blocks, const Config& config);

}  // namespace cachalot
