// Untrusted names in messages: a tensor or key name of a hostile file must not reach the terminal as it is.
#pragma once

#include <string>
#include <string_view>

namespace cachalot {

// 'text' in single quotes: control bytes, DEL and bytes that are no valid UTF-8 become \xNN, and a text longer than
// `limit_bytes` is cut with "…" and its length.
std::string quote(std::string_view text, size_t limit_bytes = 120);

}  // namespace cachalot
