// What GGUF calls a family and its facts: a family's part for this format, as data. gguf_config.h reads and writes by
// it.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "formats/config.h"
#include "model/spec.h"

namespace cachalot {

class GgufReader;

// What a file means that lacks a key: an error, nothing, null, or a value.
enum class Absent { refused, left_out, null };

struct GgufReading {
  std::variant<Absent, bool, int, double> absent = Absent::refused;
  int min = 1;             // of integers; a smaller one is not written
  bool per_layer = false;  // may be stored once per layer, all alike, and be 0
};

// The part of a spec that a fact is of: the spec, or what its first layer has, or its first layer with experts.
// nullptr when it has none.
template <typename Part>
const Part* part_of(const ModelSpec& spec);
template <>
const ModelSpec* part_of<ModelSpec>(const ModelSpec& spec);
template <>
const RopeSpec* part_of<RopeSpec>(const ModelSpec& spec);
template <>
const GqaSpec* part_of<GqaSpec>(const ModelSpec& spec);
template <>
const MlaSpec* part_of<MlaSpec>(const ModelSpec& spec);
template <>
const MoeSpec* part_of<MoeSpec>(const ModelSpec& spec);
template <>
const MoeGateSpec* part_of<MoeGateSpec>(const ModelSpec& spec);

// One fact that config.json and GGUF's metadata both state: {key in config.json, key in GGUF, the fact in a spec}.
//
//     {"hidden_size", "embedding_length", &ModelSpec::width}
//     {"num_experts_per_tok", "expert_used_count", &MoeGateSpec::active}
//
// The GGUF key stands without the architecture's name. The fact is an int, double or bool: a member or a function of
// a part of the spec; or an optional one, which is not written when it is empty. What is of experts is read from
// files that have some. A key of config.json that is listed more than once has more than one name in GGUF: the first
// that a file has counts, and the first is written. Without a key in config.json a fact is written only, and
// GgufWords::complete reads what follows from it.
struct GgufKey {
  using Value = std::variant<int, double, bool>;

  template <typename Fact>
  GgufKey(std::string_view config_key, std::string_view key, Fact fact, GgufReading reading = {})
      : config_key(config_key), key(key), reading(reading) {
    if constexpr (std::is_invocable_v<Fact, const ModelSpec&>)
      take<ModelSpec>(fact);
    else if constexpr (std::is_invocable_v<Fact, const RopeSpec&>)
      take<RopeSpec>(fact);
    else if constexpr (std::is_invocable_v<Fact, const GqaSpec&>)
      take<GqaSpec>(fact);
    else if constexpr (std::is_invocable_v<Fact, const MlaSpec&>)
      take<MlaSpec>(fact);
    else if constexpr (std::is_invocable_v<Fact, const MoeSpec&>)
      take<MoeSpec>(fact);
    else if constexpr (std::is_invocable_v<Fact, const MoeGateSpec&>)
      take<MoeGateSpec>(fact);
    else if constexpr (std::is_invocable_v<Fact, const ModelSpec&, const MoeSpec&>)
      take<MoeSpec>([fact](const ModelSpec& m, const MoeSpec& moe, const Config&) { return fact(m, moe); });
    else
      take<ModelSpec>([fact](const ModelSpec& m, const ModelSpec&, const Config& c) { return fact(m, c); });
  }

  std::string_view config_key, key;
  GgufReading reading;
  size_t type = 0;          // which of Value
  bool of_experts = false;  // a fact of a MoeSpec or its gate
  // What is written; nothing when the spec has no such part. The config says what a spec does not keep.
  std::function<std::optional<Value>(const ModelSpec& spec, const Config& config)> written;

 private:
  template <typename Part, typename Fact>
  void take(Fact fact) {
    const auto told = [fact](const ModelSpec& m, const Part& part, const Config& c) {
      if constexpr (std::is_invocable_v<Fact, const Part&>)
        return std::invoke(fact, part);
      else
        return fact(m, part, c);
    };
    using Told = std::decay_t<std::invoke_result_t<decltype(told), const ModelSpec&, const Part&, const Config&>>;
    using Optional = std::conditional_t<std::is_arithmetic_v<Told>, std::optional<Told>, Told>;
    type = Value(typename Optional::value_type()).index();
    of_experts = std::is_same_v<Part, MoeSpec> || std::is_same_v<Part, MoeGateSpec>;
    written = [told](const ModelSpec& m, const Config& c) {
      const Part* part = part_of<Part>(m);
      return part ? std::optional<Value>(Optional(told(m, *part, c))) : std::nullopt;
    };
  }
};

// A flag of config.json that asks for biases. A GGUF file states it by having that of the slot in its first layer.
struct BiasFlag {
  std::string_view config_key, slot;
};

struct GgufWords {
  std::string_view architecture;  // general.architecture; empty: there are no such files
  // Tells the family's files from others whose architecture has the same name. None: there are no others.
  bool (*is_own)(const GgufReader& file) = nullptr;
  std::vector<GgufKey> keys;  // decoder_keys() and the family's own, in the order in which they are written
  std::vector<BiasFlag> biases;
  // What is no key for a key: completes the config that the tables gave. Throws Error.
  void (*complete)(const GgufReader& file, nlohmann::json& config) = nullptr;
  // What of a spec the keys cannot say, in words for an error; empty: nothing.
  std::string_view (*unsaid)(const ModelSpec& spec) = nullptr;
  bool read_only = false;  // such files are read and never written
  // Slots whose rows the format has in another order than the model: in each head the two halves alternate (row 2i is
  // the model's i, row 2i + 1 its i + half), biases likewise.
  std::vector<std::string_view> interleaved;
  std::string_view rope_divisors;  // tensor with Llama 3's scaling: what the unscaled frequencies are divided by
  bool yarn_in_softmax = false;    // YaRN's temperature enters the softmax squared, and not cos and sin
  std::string_view usual_pre_tokenizer;  // what most files that name none were made with
};

// -- Keys that mean the same in every family, {sizes, norm, rope_theta, feed-forward}, and `more` after them
std::vector<GgufKey> decoder_keys(const std::vector<std::vector<GgufKey>>& more);
// Of a GqaSpec; complete_gqa() goes with them.
std::vector<GgufKey> gqa_keys();

// The heads that files leave out: as many for keys and values as for queries, of width / heads components. Throws
// Error for heads of which a part is rotated, and for values of another size than keys. `head_size`: config.json's
// key.
void complete_heads(const GgufReader& file, std::string_view head_size, nlohmann::json& config);
void complete_gqa(const GgufReader& file, nlohmann::json& config);  // the usual "head_dim"

}  // namespace cachalot
