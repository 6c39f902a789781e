// Bytes in base64 (RFC 4648, with padding).
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

namespace cachalot::dialect {

std::string base64(std::span<const std::byte> bytes);
// Nothing where the text is none.
std::optional<std::string> from_base64(const std::string& text);

}  // namespace cachalot::dialect
