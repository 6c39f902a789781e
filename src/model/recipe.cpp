#include "model/recipe.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/quote.h"
#include "tensor/quant_blocks.h"

namespace cachalot {

using enum DType;
using Layers = Recipe::Layers;

// The M mixes spend the extra bits where a quantized model loses most for their number: values and the feed-forward's
// output, which nothing after them normalises, in the layers near both ends and in every third between. The head is
// as wide as the vocabulary is long and decides the last step alone. What is smaller than its share of the damage
// (MLA's latents) is kept at 8 bits. Names and file types are those that GGUF files carry for comparable mixes.
static constexpr Recipe kRecipes[] = {
    // name    base    head    latent  value   down    in layers       file type
    {"f32", f32, f32, f32, f32, f32, Layers::every, 0},
    {"f16", f16, f16, f16, f16, f16, Layers::every, 1},
    {"bf16", bf16, bf16, bf16, bf16, bf16, Layers::every, 32},
    {"q8_0", q8_0, q8_0, q8_0, q8_0, q8_0, Layers::every, 7},
    {"q6_k", q6_k, q6_k, q8_0, q6_k, q6_k, Layers::every, 18},
    {"q5_k_m", q5_k, q6_k, q8_0, q6_k, q6_k, Layers::some, 17},
    {"q5_k", q5_k, q6_k, q5_k, q5_k, q5_k, Layers::every, 16},
    {"q5_1", q5_1, q6_k, q5_1, q5_1, q5_1, Layers::every, 9},
    {"q5_0", q5_0, q6_k, q5_0, q5_0, q5_0, Layers::every, 8},
    {"q4_k_m", q4_k, q6_k, q8_0, q6_k, q6_k, Layers::some, 15},
    {"q4_k", q4_k, q6_k, q4_k, q4_k, q4_k, Layers::every, 14},
    {"q4_1", q4_1, q6_k, q4_1, q4_1, q4_1, Layers::every, 3},
    {"q4_0", q4_0, q6_k, q4_0, q4_0, q4_0, Layers::every, 2},
    {"iq4_nl", iq4_nl, q6_k, iq4_nl, iq4_nl, iq4_nl, Layers::every, 25},
    {"q3_k_m", q3_k, q6_k, q8_0, q5_k, q4_k, Layers::every, 12},
    {"q3_k", q3_k, q6_k, q3_k, q3_k, q3_k, Layers::every, 11},
    {"q2_k", q2_k, q6_k, q8_0, q4_k, q3_k, Layers::every, 10},
};

std::span<const Recipe> recipes() { return kRecipes; }

const Recipe& recipe_named(std::string_view wanted) {
  std::string lower(wanted);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); });
  std::vector<std::string_view> names;
  for (const Recipe& recipe : kRecipes) {
    if (recipe.name == lower) return recipe;
    names.push_back(recipe.name);
  }
  throw Error(fmt::format("there is no type {}", quote(wanted)))
      .because(fmt::format("known: {}", fmt::join(names, ", ")));
}

double bits_per_number(DType type) { return 8.0 * info(type).block_bytes / info(type).block_elements; }

DType fallback_type(DType wanted, int64_t columns, DType stored) {
  if (columns % info(wanted).block_elements == 0) return wanted;
  if (columns % 32 != 0) return stored == bf16 ? bf16 : f16;
  switch (wanted) {
    case q2_k:
    case q3_k: return iq4_nl;
    case q4_k: return q5_0;
    case q5_k: return q5_1;
    default: return q8_0;
  }
}

int layer_of(std::string_view name) {
  int layer = -1;
  if (!name.starts_with("blk.")) return -1;
  const char* last = name.data() + name.size();
  const auto [end, code] = std::from_chars(name.data() + 4, last, layer);
  return code == std::errc() && end != last && *end == '.' && layer >= 0 && layer < 1 << 20 ? layer : -1;
}

namespace {

struct RoleOfName {
  std::string_view slot;  // the blocks' name
  std::string_view gguf;  // between "blk.N." and ".weight"
  Role role;
};
constexpr RoleOfName kRoles[] = {
    {"embed", "token_embd", Role::embedding},
    {"head", "output", Role::head},
    {"attn.v", "attn_v", Role::value},
    {"attn.qkv", "attn_qkv", Role::value},
    {"attn.kv_down", "attn_kv_a_mqa", Role::latent},
    {"attn.kv_up", "attn_kv_b", Role::latent},
    {"attn.k_up", "attn_k_b", Role::latent},
    {"attn.v_up", "attn_v_b", Role::latent},
    {"ffn.down", "ffn_down", Role::down},
    {"experts.down", "ffn_down_exps", Role::down},
    {"shared.down", "ffn_down_shexp", Role::down},
    {"moe.router", "ffn_gate_inp", Role::precise},
    {"shared.scale", "ffn_gate_inp_shexp", Role::precise},
};

// What of a GGUF name stands between "blk.N." and ".weight".
std::string_view part_of(std::string_view name) {
  if (layer_of(name) >= 0) name.remove_prefix(name.find('.', 4) + 1);
  if (name.ends_with(".weight")) name.remove_suffix(7);
  return name;
}

Role role_named(std::string_view RoleOfName::* field, std::string_view name) {
  for (const RoleOfName& known : kRoles)
    if (known.*field == name) return known.role;
  return Role::base;
}

bool among_some(int layer, int layers) {
  const int eighth = (layers + 7) / 8;
  return layer < eighth || layer >= layers - eighth || layer % 3 == 2;
}

DType wanted_type(const Recipe& recipe, const TensorPlace& place) {
  const bool more = recipe.in_layers == Layers::every || among_some(place.layer, place.layers);
  switch (place.role) {
    case Role::precise: return f32;
    case Role::embedding: return place.tied_head ? recipe.head : recipe.base;
    case Role::head: return recipe.head;
    case Role::latent: return recipe.latent;
    case Role::value: return more ? recipe.value : recipe.base;
    case Role::down: return more ? recipe.down : recipe.base;
    case Role::base: return recipe.base;
  }
  return recipe.base;
}

}  // namespace

Role role_of_slot(std::string_view slot) { return role_named(&RoleOfName::slot, slot); }
Role role_of_gguf_name(std::string_view name) { return role_named(&RoleOfName::gguf, part_of(name)); }

DType choose_type(const Recipe& recipe, const TensorPlace& place) {
  if (!can_dequantize(place.stored)) return place.stored;
  if (place.shape.size() < 2) return f32;
  const DType wanted = fallback_type(wanted_type(recipe, place), place.shape.back(), place.stored);
  const bool both_blocks = info(wanted).block_elements > 1 && info(place.stored).block_elements > 1;
  return both_blocks && bits_per_number(place.stored) <= bits_per_number(wanted) ? place.stored : wanted;
}

}  // namespace cachalot
