// Reasoning on its way out and back again in the field `encrypted_content`. It is not encrypted: whoever reads the
// response may read the reasoning beside it, and a server that keeps nothing needs no secret to go on from it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cachalot::responses {

// An opaque text for clients: Base64 of a mark of ours and the reasoning.
std::string sealed(std::string_view reasoning);
// None where it is another server's.
std::optional<std::string> unsealed(const std::string& text);

}  // namespace cachalot::responses
