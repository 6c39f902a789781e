// The list of families. A new family is one file in families/ and one line here.
#include <fmt/ranges.h>

#include <array>

#include "base/error.h"
#include "model/family.h"

namespace cachalot {

extern const Family kCachalot, kDeepseekV2, kDeepseekV3, kLlama, kQwen, kQwen2, kQwen2Moe, kQwen3, kQwen3Moe;

static constexpr std::array kFamilies = {&kQwen2,      &kQwen3, &kQwen2Moe, &kQwen3Moe, &kDeepseekV2,
                                         &kDeepseekV3, &kLlama, &kQwen,     &kCachalot};

std::span<const Family* const> all_families() { return kFamilies; }

const Family& family_of(const Config& config) {
  const auto classes = config.texts("architectures");
  std::vector<std::string_view> known;
  for (const Family* family : kFamilies) {
    for (const auto hf_class : family->hf_classes) {
      if (!classes.empty() && classes[0] == hf_class) return *family;
      known.push_back(hf_class);
    }
  }
  throw Error(classes.empty() ? "the config names no architecture"
                              : fmt::format("models of class '{}' are not supported", classes[0]))
      .in(config.where())
      .because(fmt::format("supported classes: {}", fmt::join(known, ", ")))
      .hint("`cachalot inspect` shows what the checkpoint holds");
}

}  // namespace cachalot
