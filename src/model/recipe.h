// Which type each tensor of a model gets, as data: a recipe says it by the tensor's role. Files are written by it,
// and weights are held by it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"

namespace cachalot {

struct Recipe {
  std::string_view name;  // as --type spells it
  DType base;             // matrices that nothing below names
  DType head;             // the output head; the embedding where it is the head too
  DType latent;           // MLA: the down-projection to the latent and the up-projections from it (small)
  DType value, down;      // attn_v and ffn_down in the layers of `in_layers`; `base` in the others
  enum class Layers { every, some } in_layers;  // some: the first and the last eighth, and every third
  uint32_t file_type;                           // general.file_type
};

std::span<const Recipe> recipes();
// In any case of letters. Throws Error that lists the names.
const Recipe& recipe_named(std::string_view name);

// What a matrix is for, as far as types depend on it.
enum class Role { base, embedding, head, latent, value, down, precise };
// Of the parameter that blocks call so ("attn.v"), and of GGUF's name for a tensor ("blk.0.attn_v.weight").
Role role_of_slot(std::string_view slot);
Role role_of_gguf_name(std::string_view name);

// What there is to know of a tensor when its type is chosen.
struct TensorPlace {
  Role role;
  int layer;  // -1: of no layer
  const std::vector<int64_t>& shape;
  DType stored;
  int layers;      // of the model
  bool tied_head;  // there is no output head but the embedding
};

// f32 for vectors and for routers, whatever the recipe. A type of blocks that do not divide the rows is replaced by
// fallback_type(). A tensor that is stored in blocks of no more bits than the recipe would give it keeps its type,
// and so does one of integers.
DType choose_type(const Recipe& recipe, const TensorPlace& place);

// The type of blocks of 32 that stands in for one of 256, with as many bits or more; where 32 does not divide the
// rows either, f16 (bf16 where the tensor is stored so).
DType fallback_type(DType wanted, int64_t columns, DType stored);

// N of a GGUF name "blk.N.…", -1 for a tensor of no layer.
int layer_of(std::string_view gguf_name);

double bits_per_number(DType type);

}  // namespace cachalot
