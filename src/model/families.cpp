// The list of families. A new family is one file in families/ and one line here.
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/error.h"
#include "model/family.h"

namespace cachalot {

extern const Family kCachalot, kDeepseekV2, kDeepseekV3, kLlama, kQwen, kQwen2, kQwen2Moe, kQwen3, kQwen3Moe;

static constexpr std::array kFamilies = {&kQwen2,      &kQwen3, &kQwen2Moe, &kQwen3Moe, &kDeepseekV2,
                                         &kDeepseekV3, &kLlama, &kQwen,     &kCachalot};

namespace {

struct OtherKind {
  std::string_view what, advice;
};

constexpr std::string_view kTakeText = "take a model of the same series that reads and writes text alone";
constexpr OtherKind kSenses = {"this is the part of a model that sees or hears (mmproj), not the language model",
                               "give the other file"};

// GGUF files that hold no model, by what stands in place of an architecture.
void refuse_no_model(const Config& config, std::string_view name) {
  static constexpr std::pair<std::string_view, OtherKind> kNames[] = {
      {"clip", kSenses},
      {"mmproj", kSenses},
      {"adapter",
       {"this is an adapter (LoRA), not a model", "merge it into the model's weights, and give the result"}},
      {"imatrix", {"this is an importance matrix, which helps to quantize a model, not a model", "give the model"}}};
  for (const auto& [known, kind] : kNames)
    if (name == known) throw Error(std::string(kind.what)).in(config.where()).hint(kind.advice);
}

// Models that are of another kind than those served, told by the class or by what the config describes besides.
std::optional<OtherKind> other_kind(const Config& config, std::string_view hf_class) {
  if (config.boolean_or("is_encoder_decoder", false))
    return OtherKind{"it is an encoder with a decoder", "models that only decode run here"};
  for (const char* part : {"vision_config", "visual", "audio_config", "thinker_config"})
    if (config.has(part)) return OtherKind{"it reads images or sound as well as text", kTakeText};
  static constexpr std::pair<std::string_view, OtherKind> kEndings[] = {
      {"ForSequenceClassification", {"it has a head that classifies texts in place of the one that writes them", ""}},
      {"ForTokenClassification", {"it has a head that classifies tokens in place of the one that writes them", ""}},
      {"ForQuestionAnswering", {"it has a head that marks answers in place of the one that writes them", ""}},
      {"ForMaskedLM", {"it fills gaps in a text that it sees whole; it does not continue one", ""}},
      {"RewardModel", {"it scores texts; it does not write them", ""}},
      {"ForConditionalGeneration", {"models of such classes read more than text, or encode it first", kTakeText}}};
  for (const auto& [ending, kind] : kEndings)
    if (hf_class.ends_with(ending)) return kind;
  return std::nullopt;
}

}  // namespace

static const Family* named(std::string_view model_type, Families families) {
  const auto found = std::find_if(families.begin(), families.end(), [&](auto* f) { return f->name == model_type; });
  return found == families.end() ? nullptr : *found;
}

static const Family* of_class(std::string_view hf_class, Families families) {
  for (const Family* family : families)
    if (std::find(family->hf_classes.begin(), family->hf_classes.end(), hf_class) != family->hf_classes.end())
      return family;
  return nullptr;
}

Families all_families() { return kFamilies; }

const Family* find_family(const Config& config, Families families) {
  try {
    return &family_of(config, families);
  } catch (const Error&) { return nullptr; }
}

const Family& family_of(const Config& config, Families families) {
  const auto classes = config.texts("architectures");
  const std::string type = config.text_or("model_type", "");
  const Family *by_class = classes.empty() ? nullptr : of_class(classes[0], families),
               *by_type = named(type, families);
  if (by_class && by_type && by_class != by_type)
    throw Error(fmt::format("the config says two things: class '{}' and model_type '{}'", classes[0], type))
        .in(config.where());
  if (by_class) return *by_class;
  if (classes.empty() && by_type) return *by_type;

  std::vector<std::string_view> known;
  for (const Family* family : families) known.push_back(family->hf_classes[0]);
  const std::string_view wanted = classes.empty() ? "" : std::string_view(classes[0]);
  refuse_no_model(config, wanted);
  const auto other = other_kind(config, wanted);
  Error error = Error(!classes.empty() ? fmt::format("models of class '{}' are not supported", classes[0])
                      : type.empty()   ? "the config names no architecture"
                                       : fmt::format("models of type '{}' are not supported", type))
                    .in(config.where());
  if (other) error = std::move(error).because(other->what);
  error = std::move(error).because(fmt::format("supported classes: {}", fmt::join(known, ", ")));
  if (other && !other->advice.empty()) throw std::move(error).hint(other->advice);
  throw std::move(error).hint("`cachalot inspect` shows what the checkpoint holds");
}

}  // namespace cachalot
