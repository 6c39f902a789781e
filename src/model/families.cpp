// The list of families. A new family is one file in families/ and one line here.
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "model/family.h"

namespace cachalot {

extern const Family kCachalot, kDeepseekV2, kDeepseekV3, kLlama, kQwen, kQwen2, kQwen2Moe, kQwen3, kQwen3Moe;

static constexpr std::array kFamilies = {&kQwen2,      &kQwen3, &kQwen2Moe, &kQwen3Moe, &kDeepseekV2,
                                         &kDeepseekV3, &kLlama, &kQwen,     &kCachalot};

std::span<const Family* const> all_families() { return kFamilies; }

static const Family* named(std::string_view model_type) {
  const auto found = std::find_if(kFamilies.begin(), kFamilies.end(), [&](auto* f) { return f->name == model_type; });
  return found == kFamilies.end() ? nullptr : *found;
}

static const Family* of_class(std::string_view hf_class) {
  for (const Family* family : kFamilies)
    if (std::find(family->hf_classes.begin(), family->hf_classes.end(), hf_class) != family->hf_classes.end())
      return family;
  return nullptr;
}

const Family& family_of(const Config& config) {
  const auto classes = config.texts("architectures");
  const std::string type = config.text_or("model_type", "");
  const Family *by_class = classes.empty() ? nullptr : of_class(classes[0]), *by_type = named(type);
  if (by_class && by_type && by_class != by_type)
    throw Error(fmt::format("the config says two things: class '{}' and model_type '{}'", classes[0], type))
        .in(config.where());
  if (by_class) return *by_class;
  if (classes.empty() && by_type) return *by_type;

  std::vector<std::string_view> known;
  for (const Family* family : kFamilies) known.push_back(family->hf_classes[0]);
  throw Error(!classes.empty() ? fmt::format("models of class '{}' are not supported", classes[0])
              : type.empty()   ? "the config names no architecture"
                               : fmt::format("models of type '{}' are not supported", type))
      .in(config.where())
      .because(fmt::format("supported classes: {}", fmt::join(known, ", ")))
      .hint("`cachalot inspect` shows what the checkpoint holds");
}

}  // namespace cachalot
