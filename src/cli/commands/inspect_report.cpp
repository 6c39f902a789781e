#include "cli/commands/inspect_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/terminal.h"

namespace cachalot {

using Json = nlohmann::ordered_json;

namespace {

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
  return "quantized anew";
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
                     small_inputs ? "; what meets quantized weights is rounded to 8 bits" : "");
}

void print_blocks(const ModelSpec& s) {
  for (const auto& kinds : {describe_attention(s.layers), describe_ffn(s.layers)})
    for (const Description& kind : kinds) line(kind.label, kind.text);
}

void print_cache(const Inspection& i) {
  const int full = i.spec->context;
  std::string text = fmt::format("{} per token in {}, {} at {} tokens", memory_text(i.cache_bytes_per_token),
                                 name(i.kv), memory_text(i.cache_bytes), i.context);
  if (i.context != full) text += fmt::format(", {} at all {}", memory_text(i.full_cache_bytes), full);
  if (i.state_bytes > 0) text += fmt::format("; states of {} per sequence", memory_text(i.state_bytes));
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

Json shape_facts(const ModelSpec& s) {
  const AttentionFacts attention = s.layers.front().facts();
  return {{"layers", s.layers.size()},
          {"width", s.width},
          {"heads", attention.heads},
          {"kv_heads", attention.kv_heads},
          {"head_dim", attention.head_dim},
          {"ffn", inner_width(s.layers)},
          {"vocabulary", s.vocab},
          {"tied_head", s.tied_head},
          {"context", s.context}};
}

// What kinds of blocks say of themselves, each in its own section. Every report has "experts" and "mla".
void add_sections(const ModelSpec& s, Json& report) {
  for (const auto& kinds : {describe_attention(s.layers), describe_ffn(s.layers)})
    for (const Description& kind : kinds)
      for (const auto& [name, number] : kind.numbers) report[std::string(kind.section)][std::string(name)] = number;
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
    print_blocks(s);
    line("context",
         fmt::format(
             "{} tokens{}", i.context,
             i.context == s.context ? "" : fmt::format(" asked for, {} promised by the checkpoint", s.context)));
    if (i.cache_bytes > 0) print_cache(i);
  }
  print_memory(i);
  if (i.token_seconds)
    line("speed", fmt::format("about {} tokens/s, of which each reads {}", rate_text(1 / *i.token_seconds),
                              memory_text(static_cast<int64_t>(i.token_reads.bytes()))));
  line("runs", !i.reasons.empty()  ? "no"
               : !i.spec->causal() ? "yes, for logits and traces: its windows see ahead, so it generates nothing"
               : i.spec->headless  ? "yes, for embeddings: it has no output head, so it writes no text"
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
  Json report = {{"architecture", i.architecture},
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
                 {"state_bytes_per_sequence", known(cache, i.state_bytes)},
                 {"context", known(i.context > 0, i.context)},
                 {"full_context", spec ? Json(i.spec->context) : Json(nullptr)},
                 {"available_bytes", i.available_bytes},
                 {"shape", spec ? shape_facts(*i.spec) : Json(nullptr)},
                 {"experts", nullptr},
                 {"mla", nullptr},
                 {"mtp", spec ? mtp_facts(i) : Json(nullptr)},
                 {"memory", memory_facts(i)},
                 {"decode_tokens_per_s", i.token_seconds ? Json(1 / *i.token_seconds) : Json(nullptr)},
                 {"tokenizer", i.has_tokenizer},
                 {"runs", i.reasons.empty()},
                 {"reasons", i.reasons},
                 {"tensors", tensor_facts(i)}};
  if (spec) add_sections(*i.spec, report);
  return report;
}

}  // namespace cachalot
