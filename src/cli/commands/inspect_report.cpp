#include "cli/commands/inspect_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "cli/terminal.h"

namespace cachalot {

using Json = nlohmann::ordered_json;

namespace {

// -- Facts

const LayerSpec* first_with(const ModelSpec& s, bool experts) {
  const auto found = std::find_if(s.layers.begin(), s.layers.end(),
                                  [&](const LayerSpec& l) { return (l.moe() != nullptr) == experts; });
  return found == s.layers.end() ? nullptr : &*found;
}

int64_t layers_with_experts(const ModelSpec& s) {
  return std::count_if(s.layers.begin(), s.layers.end(), [](const LayerSpec& l) { return l.moe() != nullptr; });
}

// DeepSeek's shared experts are held as one of their widths' sum; one with a gate of its own is one.
int shared_experts(const MoeSpec& s) {
  if (s.shared.hidden == 0 || s.shared_gate || s.shared.hidden % s.expert.hidden != 0) return s.shared.hidden > 0;
  return s.shared.hidden / s.expert.hidden;
}

// -- For people

void line(std::string_view label, const std::string& value) { fmt::print("{:<14}{}\n", label, printable(value)); }

std::string parameters_text(const Inspection& i) {
  if (!i.counts) return count_text(i.stored_elements);
  const ParameterCounts& c = *i.counts;
  if (c.active == c.total) return count_text(c.total);
  return fmt::format("{}, {} active per token (embedding and head counted whole)", count_text(c.total),
                     count_text(c.active));
}

std::string weights_text(const Inspection& i) {
  std::vector<std::pair<int64_t, std::string_view>> largest_first;
  largest_first.reserve(i.bytes_of_type.size());
  for (const auto& [type, bytes] : i.bytes_of_type) largest_first.emplace_back(-bytes, type);
  std::sort(largest_first.begin(), largest_first.end());
  std::vector<std::string> types;
  types.reserve(largest_first.size());
  for (const auto& [bytes, type] : largest_first)
    types.push_back(largest_first.size() == 1 ? std::string(type) : fmt::format("{} {}", type, memory_text(-bytes)));
  const std::string all = fmt::format("{}", fmt::join(types, ", "));
  if (i.checkpoint)
    return fmt::format("{} in {} tensors ({})", memory_text(i.stored_bytes), i.checkpoint->tensors().size(), all);
  return i.stored_bytes > 0 ? fmt::format("none here; by the config about {} ({})", memory_text(i.stored_bytes), all)
                            : "none here";
}

// How far the numbers that a run holds are from the stored ones.
std::string_view change_text(DType stored, DType held) {
  if (held == stored || held == DType::f32) return "exact";
  if (held == DType::bf16) return "each number within 2^-9 of itself";
  return "quantised anew";
}

std::string held_text(const Inspection& i) {
  std::map<std::pair<DType, DType>, int64_t> tensors;
  bool small_inputs = false;
  for (const auto& [tensor, held] : i.held_as) {
    ++tensors[{tensor->dtype, held}];
    small_inputs = small_inputs || info(held).block_elements > 1;
  }
  std::vector<std::string> parts;
  for (const auto& [types, count] : tensors) {
    const auto [stored, held] = types;
    const std::string as =
        held == stored ? std::string(name(stored)) : fmt::format("{} as {}", name(stored), name(held));
    parts.push_back(fmt::format("{} ({}; {} tensor{})", as, change_text(stored, held), count, count == 1 ? "" : "s"));
  }
  return fmt::format("{}{}", fmt::join(parts, ", "),
                     small_inputs ? "; what meets quantised weights is rounded to 8 bits" : "");
}

std::string attention_text(const ModelSpec& s) {
  const LayerSpec& first = s.layers.front();
  if (const MlaSpec* a = first.mla())
    return fmt::format("{} heads of {}, latent (MLA): {} + {} numbers cached per token and layer", a->heads,
                       a->nope_dim + a->rope.dim, a->kv_rank, a->rope.dim);
  const GqaSpec& a = *first.gqa();
  std::string text = fmt::format("{} heads of {} on {} kv heads", a.heads, a.head_dim, a.kv_heads);
  const auto windowed =
      std::count_if(s.layers.begin(), s.layers.end(), [](const LayerSpec& l) { return l.window() > 0; });
  if (windowed > 0) text += fmt::format(", {} of {} layers with a window", windowed, s.layers.size());
  return text;
}

void print_ffn(const ModelSpec& s) {
  const auto sparse = layers_with_experts(s), all = std::ssize(s.layers);
  if (const LayerSpec* dense = first_with(s, false))
    line("feed-forward",
         fmt::format("{} wide{}", dense->dense()->hidden,
                     sparse > 0 ? fmt::format(" in {} of {} layers", all - sparse, all) : std::string()));
  if (const LayerSpec* layer = first_with(s, true)) {
    const MoeSpec& moe = *layer->moe();
    const int shared = shared_experts(moe);
    const std::string beside = shared == 0                              ? ""
                               : moe.shared.hidden == moe.expert.hidden ? " and 1 shared"
                               : shared > 1                             ? fmt::format(" and {} shared", shared)
                                            : fmt::format(" and 1 shared, {} wide", moe.shared.hidden);
    line("experts",
         fmt::format("{} of {} per token, {} wide,{}{}", moe.gate.active, moe.gate.experts, moe.expert.hidden,
                     beside.empty() ? "" : beside + ",", fmt::format(" in {} of {} layers", sparse, all)));
  }
}

void print_cache(const Inspection& i) {
  const int full = i.spec->context;
  std::string text = fmt::format("{} per token in {}, {} at {} tokens", memory_text(i.cache_bytes_per_token),
                                 name(i.kv), memory_text(i.cache_bytes), i.context);
  if (i.context != full) text += fmt::format(", {} at all {}", memory_text(i.full_cache_bytes), full);
  line("cache", text);
}

// "needs 1.34 TiB, 22.1 GiB available".
std::string fits_text(const Inspection& i, const MemoryChoice& m) {
  std::string text =
      fmt::format("needs {}, {} available", memory_text(m.plan.total_bytes()), memory_text(i.available_bytes));
  if (!m.plan.fits() && m.context > 0) text += fmt::format("; --context {} fits", m.context);
  return text;
}

// The row of the type that auto comes to; nullptr when auto holds several.
const MemoryChoice* same_as_auto(const Inspection& i) {
  const MemoryPlan& automatic = i.memory.front().plan;
  for (size_t k = 1; k < i.memory.size(); ++k)
    if (i.memory[k].plan.weight_bytes == automatic.weight_bytes && i.memory[k].kv == i.memory.front().kv)
      return &i.memory[k];
  return nullptr;
}

void print_memory(const Inspection& i) {
  if (i.memory.empty()) return;
  fmt::print("\n{:<14}{:<16}{:>10}{:>18}{:>13}   fits with {} tokens\n", "memory", "--weights", "weights", "cache",
             "activations", i.context);
  const MemoryChoice* twin = same_as_auto(i);
  for (const MemoryChoice& m : i.memory) {
    if (&m == twin) continue;
    const std::string label = m.weights == "auto" ? fmt::format("auto ({})", name(m.held_as)) : m.weights;
    fmt::print("{:<14}{:<16}{:>10}{:>18}{:>13}   {}: {}\n", "", label, memory_text(m.plan.weight_bytes),
               fmt::format("{} {}", memory_text(m.plan.cache_bytes), name(m.kv)),
               memory_text(m.plan.activation_bytes), m.plan.fits() ? "yes" : "no", fits_text(i, m));
  }
  fmt::print("\n");
}

// -- For scripts

// Numbers of a query or key, rotary ones included.
int head_dim(const LayerSpec& layer) {
  if (const GqaSpec* gqa = layer.gqa()) return gqa->head_dim;
  const auto& mla = std::get<MlaSpec>(layer.attention);
  return mla.nope_dim + mla.rope.dim;
}

Json shape_facts(const ModelSpec& s) {
  const LayerSpec& layer = s.layers.front();
  const GqaSpec* gqa = layer.gqa();
  const LayerSpec* dense = first_with(s, false);
  return {{"layers", s.layers.size()},
          {"width", s.width},
          {"heads", layer.heads()},
          {"kv_heads", gqa ? gqa->kv_heads : layer.heads()},
          {"head_dim", head_dim(layer)},
          {"ffn", dense ? std::get<FfnSpec>(dense->ffn).hidden : std::get<MoeSpec>(layer.ffn).expert.hidden},
          {"vocabulary", s.vocab},
          {"tied_head", s.tied_head},
          {"context", s.context}};
}

Json mla_facts(const ModelSpec& s) {
  const MlaSpec* a = s.layers.front().mla();
  if (!a) return nullptr;
  return {{"q_rank", a->q_rank},       {"kv_rank", a->kv_rank},
          {"nope_dim", a->nope_dim},   {"rope_dim", a->rope.dim},
          {"value_dim", a->value_dim}, {"cached_per_token_and_layer", a->kv_rank + a->rope.dim}};
}

Json expert_facts(const ModelSpec& s) {
  const LayerSpec* layer = first_with(s, true);
  if (!layer) return nullptr;
  const MoeSpec& moe = *layer->moe();
  return {{"total", moe.gate.experts},  {"active", moe.gate.active},         {"shared", shared_experts(moe)},
          {"width", moe.expert.hidden}, {"shared_width", moe.shared.hidden}, {"layers", layers_with_experts(s)}};
}

Json mtp_facts(const Inspection& i) {
  if (i.spec->mtp.empty()) return nullptr;
  return {{"modules", i.spec->mtp.size()},
          {"parameters", i.counts->mtp_total},
          {"active_parameters", i.counts->mtp_active},
          {"kv_bytes_per_token", i.mtp_cache_bytes_per_token}};
}

Json memory_facts(const Inspection& i) {
  Json rows = Json::array();
  for (const MemoryChoice& m : i.memory)
    rows.push_back({{"weights", m.weights},
                    {"held_as", name(m.held_as)},
                    {"kv", name(m.kv)},
                    {"context", i.context},
                    {"weight_bytes", m.plan.weight_bytes},
                    {"cache_bytes", m.plan.cache_bytes},
                    {"activation_bytes", m.plan.activation_bytes},
                    {"total_bytes", m.plan.total_bytes()},
                    {"fits", m.plan.fits()},
                    {"context_that_fits", m.context},
                    {"reason", fits_text(i, m)}});
  return rows;
}

Json tensor_facts(const Inspection& i) {
  Json tensors = Json::array();
  if (!i.checkpoint) return tensors;
  for (const StoredTensor& t : i.checkpoint->tensors()) {
    const auto held = i.held_as.find(&t);
    tensors.push_back(
        {{"name", t.name},
         {"dtype", t.type_name()},
         {"shape", t.shape},
         {"bytes", t.stored_bytes()},
         {"held_as", held == i.held_as.end() ? Json(nullptr) : Json(name(held->second))},
         {"change", held == i.held_as.end() ? Json(nullptr) : Json(change_text(t.dtype, held->second))}});
  }
  return tensors;
}

}  // namespace

void print_inspection(const Inspection& i) {
  line("model", i.path.string());
  line("architecture", i.family.empty() ? i.architecture : fmt::format("{} (family {})", i.architecture, i.family));
  if (i.counts || i.checkpoint) line("parameters", parameters_text(i));
  if (i.spec && !i.spec->mtp.empty())
    line("prediction", fmt::format("a module of {} more, which drafts a token ahead (counted in the memory below)",
                                   count_text(i.counts->mtp_total)));
  line("weights", weights_text(i));
  if (!i.held_as.empty()) line("held as", held_text(i));
  if (i.spec) {
    const ModelSpec& s = *i.spec;
    line("shape", fmt::format("{} layers, width {}, vocabulary {}{}", s.layers.size(), s.width, s.vocab,
                              s.tied_head ? ", tied head" : ""));
    line("attention", attention_text(s));
    print_ffn(s);
    line("context",
         fmt::format(
             "{} tokens{}", i.context,
             i.context == s.context ? "" : fmt::format(" asked for, {} promised by the checkpoint", s.context)));
    if (i.cache_bytes > 0) print_cache(i);
  }
  print_memory(i);
  line("runs", !i.reasons.empty()  ? "no"
               : !i.spec->causal() ? "yes, for logits and traces: its windows see ahead, so it generates nothing"
               : !i.has_tokenizer  ? "yes, on token ids: it has no tokenizer"
                                   : "yes");
  for (const std::string& reason : i.reasons) fmt::print("  {}\n", printable(reason));
}

void print_tensors(const Inspection& i) {
  if (!i.checkpoint)
    throw Error("there are no tensors to list").in(i.path.string()).because("no weights are here, only the config");
  size_t width = 4;
  for (const StoredTensor& t : i.checkpoint->tensors()) width = std::max(width, std::min<size_t>(60, t.name.size()));
  fmt::print("\n{:<{}}  {:<8} {:<18} {:>10}  {}\n", "name", width, "stored", "shape", "bytes", "held as");
  for (const StoredTensor& t : i.checkpoint->tensors()) {
    const auto held = i.held_as.find(&t);
    fmt::print("{:<{}}  {:<8} {:<18} {:>10}  {}\n", printable(t.name), width, printable(t.type_name()),
               fmt::format("[{}]", fmt::join(t.shape, ", ")), memory_text(t.stored_bytes()),
               held != i.held_as.end() ? fmt::format("{}, {}", name(held->second), change_text(t.dtype, held->second))
                                       : "-");
  }
}

Json inspection_json(const Inspection& i) {
  const auto known = [](bool is_known, const auto& value) { return is_known ? Json(value) : Json(nullptr); };
  const bool cache = i.cache_bytes > 0, spec = i.spec.has_value(), gguf = i.checkpoint && i.checkpoint->gguf();
  const int64_t parameters = i.counts ? i.counts->total : i.stored_elements;
  return {{"architecture", i.architecture},
          {"family", known(!i.family.empty(), i.family)},
          {"format", gguf           ? "gguf"
                     : i.checkpoint ? "safetensors"
                                    : "config"},
          {"parameters", known(parameters > 0, parameters)},
          {"active_parameters", i.counts ? Json(i.counts->active) : Json(nullptr)},
          {"weights_present", i.checkpoint.has_value()},
          {"weight_bytes", known(i.stored_bytes > 0, i.stored_bytes)},
          {"held_bytes", i.memory.empty() ? Json(nullptr) : Json(i.memory.front().plan.weight_bytes)},
          {"kv_bytes_per_token", known(cache, i.cache_bytes_per_token)},
          {"kv_bytes", known(cache, i.cache_bytes)},
          {"kv_bytes_at_full_context", known(cache, i.full_cache_bytes)},
          {"context", known(i.context > 0, i.context)},
          {"full_context", spec ? Json(i.spec->context) : Json(nullptr)},
          {"available_bytes", i.available_bytes},
          {"shape", spec ? shape_facts(*i.spec) : Json(nullptr)},
          {"experts", spec ? expert_facts(*i.spec) : Json(nullptr)},
          {"mla", spec ? mla_facts(*i.spec) : Json(nullptr)},
          {"mtp", spec ? mtp_facts(i) : Json(nullptr)},
          {"memory", memory_facts(i)},
          {"tokenizer", i.has_tokenizer},
          {"runs", i.reasons.empty()},
          {"reasons", i.reasons},
          {"tensors", tensor_facts(i)}};
}

}  // namespace cachalot
