// Rewrites a checkpoint as one GGUF file with weights of fewer bits, tensor by tensor, on all cores.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/whole_file.h"
#include "formats/checkpoint.h"
#include "model/family.h"
#include "model/recipe.h"

namespace cachalot {

// What the square of an input's weights' errors costs: per tensor, under the name that the checkpoint has for it, one
// number >= 0 per column (tensor/quant_encode.h); of a stack of matrices one per column, or per matrix and column.
// Tensors without an entry are unweighted.
using Importance = std::map<std::string, std::vector<float>, std::less<>>;

struct QuantizeOptions {
  const Recipe& recipe;
  WholeFile::Existing existing = WholeFile::Existing::keep;
  WholeFile::Inputs inputs = {};  // files that `out` must not be
  int threads = 1;
  const Importance* importance = nullptr;
  // Called with the numbers written so far and in all.
  std::function<void(int64_t done, int64_t total)> progress = [](int64_t, int64_t) {};
  Families families = all_families();
};

// The tensors of one kind ("blk.*.attn_q.weight") that were written in one type.
struct QuantizedKind {
  std::string kind;
  DType type;
  int tensors = 0;
  int64_t numbers = 0;
  int64_t stored_bytes = 0, bytes = 0;  // in the checkpoint, in the file
  double square_sum = 0,
         error_square_sum = 0;  // of the numbers, and of what the encoding changed; both 0 when copied
  bool weighted = false;        // an importance was used

  // Root mean square of the errors over that of the numbers.
  double relative_error() const;
};

// Throws Error: for what cannot be written (gguf_export.h), for an existing file, a full disk, and for weights that
// are not finite or that the type cannot hold. No file is left behind then.
std::vector<QuantizedKind> quantize_checkpoint(const Checkpoint& checkpoint, const std::filesystem::path& out,
                                               const QuantizeOptions& options);

}  // namespace cachalot
