#include "server/dialect/reasoning.h"

#include "server/dialect/base64.h"

namespace cachalot::dialect {

static constexpr std::string_view kMark = "cachalot-reasoning-1:";

std::string sealed(std::string_view reasoning) {
  std::string plain(kMark);
  plain += reasoning;
  return base64(std::as_bytes(std::span(plain)));
}

std::optional<std::string> unsealed(const std::string& text) {
  const auto plain = from_base64(text);
  if (!plain || !plain->starts_with(kMark)) return std::nullopt;
  return plain->substr(kMark.size());
}

}  // namespace cachalot::dialect
