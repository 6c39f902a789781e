// The parameters that a spec has: what they are called, their sizes and the arrangements in which checkpoints store
// them. Known without a checkpoint, so sizes can be told from a config alone.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/weights.h"

namespace cachalot {

// A matrix [rows, columns], a vector [columns], or a stack of them.
struct Parameter {
  enum class Kind {
    matrix,   // held as the user chooses
    precise,  // a matrix held in f32 always: it is small and decides much
    table,    // a matrix whose rows are looked up
    latent,   // a matrix that is read both ways: held in a type of single numbers
    vector,   // held in f32 always
  };
  // Another arrangement: rows of a tensor that holds more, or of each matrix of a stack that holds more.
  struct Within {
    std::string_view slot;
    std::vector<int64_t> shape;  // of that tensor
    int64_t first = 0;           // the first row (vectors: component) that is ours
    bool transposed = false;     // ours are its columns
  };

  std::string slot;                     // the family's name for it: "attn.q", "experts.up"
  std::string_view suffix = ".weight";  // ".bias"; or none
  Kind kind = Kind::matrix;
  int layer = 0;      // modules that predict further tokens count on after the last layer
  int64_t stack = 0;  // so many, one per expert or head; 0: one that is no stack
  int64_t rows = 1, columns = 0;
  std::optional<Within> within;
  bool tied_head = false;  // the model's: the embedding is the output head, too

  bool routed() const { return slot.starts_with("experts."); }  // a token uses some of the stack
  std::vector<int64_t> shape() const;  // the mathematical one: [D], [E, F] of vectors; [U, D], [E, F, D] of matrices
  int64_t elements() const { return std::max<int64_t>(1, stack) * rows * columns; }
  // How it is held when it is stored in `stored`, which is a type of weights (ops/weight_types.h) or becomes bf16.
  DType held_as(const WeightsPolicy& policy, DType stored) const;
  // What it takes then.
  int64_t held_bytes(const Ops& ops, DType held) const;
};

// Calls visit(parameter, where it belongs) for every parameter of `spec`, layer by layer, and makes the layers of
// `weights` as it goes. The one place that knows which parameters a spec has.
void for_each_parameter(const ModelSpec& spec, ModelWeights& weights,
                        const std::function<void(const Parameter&, Weight&)>& visit);

// The same as a list. Throws Error when the parameters are more than 2^50, which no sum of bytes survives.
std::vector<Parameter> parameters_of(const ModelSpec& spec);

// How many numbers a model has. The embedding and the output head count, both unless they are one; per token, of the
// routed experts those count that one token uses. The modules of spec.mtp are counted apart.
struct ParameterCounts {
  int64_t total = 0, active = 0;
  int64_t mtp_total = 0, mtp_active = 0;
};
ParameterCounts count_parameters(const ModelSpec& spec);

}  // namespace cachalot
