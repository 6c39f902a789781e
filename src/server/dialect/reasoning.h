// Reasoning on its way out and back again in a field that means nothing to clients (`encrypted_content`,
// `signature`). It is not encrypted: whoever asked may read it, and a server that keeps nothing needs no secret to go
// on from it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cachalot::dialect {

// An opaque text for clients: Base64 of a mark of ours and the reasoning.
std::string sealed(std::string_view reasoning);
// None where it is another server's.
std::optional<std::string> unsealed(const std::string& text);

}  // namespace cachalot::dialect
