// The parameters of a model, bound by name to a checkpoint's tensors: shapes checked, nothing left over.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/family.h"
#include "ops/ops.h"

namespace cachalot {

// A matrix with its bias; the bias is empty where the spec has none.
struct Linear {
  Weight w;
  Weight bias;
};

struct GqaWeights {
  Linear q, k, v, out;
  Weight q_norm_K, k_norm_K;
};

struct SwigluWeights {
  Linear gate, up, down;
};

struct LayerWeights {
  Weight attn_norm_D, ffn_norm_D;
  GqaWeights attn;
  SwigluWeights ffn;
};

struct ModelWeights {
  Weight embed_WD;
  std::vector<LayerWeights> layers;
  Weight norm_D;
  Weight head_WD;  // empty when tied
};

// One tensor that the model needs and where the checkpoint has it.
struct BoundTensor {
  const StoredTensor* stored;
  std::vector<int64_t> shape;
  DType held_as;
};

// How weights are held: `fixed`, or as the checkpoint has each tensor (bf16 for what has no kernels of its own).
struct WeightsPolicy {
  std::optional<DType> fixed;
  DType held_as(DType stored) const;
};

// Every tensor that `spec` needs, found and shape-checked without loading anything. Throws Error for a missing
// tensor, a wrong shape, or tensors left over that the family does not list as ignored.
std::vector<BoundTensor> bind_tensors(const Family& family, const ModelSpec& spec, const Checkpoint& checkpoint,
                                      const WeightsPolicy& policy);

// Loads all of them; `progress(done_bytes, total_bytes)` counts stored bytes. Pages of the file are given back as it
// goes.
ModelWeights load_weights(const Family& family, const ModelSpec& spec, const Checkpoint& checkpoint,
                          const WeightsPolicy& policy, Ops& ops,
                          const std::function<void(int64_t, int64_t)>& progress);

}  // namespace cachalot
