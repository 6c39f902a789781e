// The parameters of a model, bound by name to a checkpoint's tensors: shapes checked, nothing left over.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "formats/checkpoint.h"
#include "model/family.h"
#include "ops/ops.h"

namespace cachalot {

struct MtpWeights {
  Weight embed_norm_D, hidden_norm_D;
  Linear combine;  // [D, 2 D], no bias: the embedding's half first
  LayerWeights layer;
  Weight norm_D;
};

struct ModelWeights {
  Weight embed_WD;
  Weight positions;  // [positions, D]
  std::vector<LayerWeights> layers;
  std::vector<MtpWeights> mtp;
  Weight norm_D;
  Linear head;  // [W, D]; tied: the embedding's matrix, which exists once
};

// One parameter that the model needs and where the checkpoint has it: whole tensors or parts of them.
struct BoundTensor {
  std::string slot;                          // the family's name for it: "attn.q", "experts.up"
  std::vector<MatrixPart> parts;             // one, or one per expert or head
  std::vector<const StoredTensor*> sources;  // the checkpoint's tensors that they are parts of
  std::vector<int64_t> shape;                // [D], [E, F] of vectors; [U, D], [E, F, D] of matrices
  DType held_as;
  bool vectors;
  int64_t used;               // so many of a stack per token; 0: all
  int interleaved_heads = 0;  // not 0: so many heads of each part have their rows in the file's order (row_order.h)

  bool routed() const { return used > 0; }
  // Of its numbers, those that a token uses.
  double share() const { return routed() ? static_cast<double>(used) / static_cast<double>(shape[0]) : 1; }
  int64_t stored_bytes() const;
  // What it takes when it is loaded.
  int64_t held_bytes(const Ops& ops) const;
  int64_t elements() const;
};

// How weights are held: `fixed`, or as the checkpoint has each tensor (what has no kernels: holdable_type of
// ops/weight_types.h). Routers and other small matrices that decide much are f32 always.
struct WeightsPolicy {
  std::optional<DType> fixed;
};

// Every parameter that `spec` needs, found and shape-checked without loading anything. Throws Error for a missing
// tensor, a wrong shape, or tensors left over that the family does not list as ignored.
std::vector<BoundTensor> bind_tensors(const Family& family, const ModelSpec& spec, const Checkpoint& checkpoint,
                                      const WeightsPolicy& policy);

// Fits a spec to what the checkpoint holds, where the config alone decides wrongly. Drops spec.mtp when it is not
// there: many converted files leave it out. Unties the head when there is one that differs from the embedding, with a
// warning, as transformers does; reads both to know. Does without a head where a class without one was saved and the
// config does not say that it is the embedding, as large embedding models are published.
void keep_stored(const Family& family, const Checkpoint& checkpoint, ModelSpec& spec);

// Loads all of them; `progress(done_bytes, total_bytes)` counts stored bytes. Pages of the file are given back as it
// goes.
ModelWeights load_weights(const Family& family, const ModelSpec& spec, const Checkpoint& checkpoint,
                          const WeightsPolicy& policy, Ops& ops,
                          const std::function<void(int64_t, int64_t)>& progress);

}  // namespace cachalot
