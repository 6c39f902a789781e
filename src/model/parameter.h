// One parameter of a model: what it is called, its size, and the other arrangement in which checkpoints may store it.
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ops/ops.h"

namespace cachalot {

struct WeightsPolicy;

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
  int64_t used = 0;   // so many of them per token; 0: all
  int64_t rows = 1, columns = 0;
  std::optional<Within> within;
  bool tied_head = false;  // the model's: the embedding is the output head, too

  std::vector<int64_t> shape() const;  // the mathematical one: [D], [E, F] of vectors; [U, D], [E, F, D] of matrices
  int64_t elements() const { return std::max<int64_t>(1, stack) * rows * columns; }
  int64_t active_elements() const { return used > 0 ? elements() / stack * used : elements(); }  // per token
  // How it is held when it is stored in `stored`, which is a type of weights (ops/weight_types.h) or becomes bf16.
  DType held_as(const WeightsPolicy& policy, DType stored) const;
  // What it takes then.
  int64_t held_bytes(const Ops& ops, DType held) const;
};

// What a block tells its parameters to, each with its place in the weights. Adds what the block does not know: the
// layer.
class ParameterVisitor {
 public:
  using Visit = std::function<void(const Parameter&, Weight&)>;
  ParameterVisitor(const Visit& visit, int width) : visit_(visit), width_(width) {}

  int64_t width() const { return width_; }  // D
  void set_layer(int layer) { layer_ = layer; }

  void operator()(Parameter parameter, Weight& w);
  // The usual forms.
  void matrix(std::string slot, Weight& w, int64_t rows, int64_t columns);
  void table(std::string slot, Weight& w, int64_t rows, int64_t columns);
  void precise(std::string slot, Weight& w, int64_t rows, int64_t columns);
  void vector(std::string slot, Weight& w, int64_t size);
  void bias(std::string slot, Weight& w, int64_t size);
  void linear(const std::string& slot, Linear& l, int64_t rows, int64_t columns, bool has_bias);

 private:
  const Visit& visit_;
  const int64_t width_;
  int layer_ = 0;
};

}  // namespace cachalot
