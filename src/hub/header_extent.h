// How far the header of a file of weights reaches, found from its beginning: what must be fetched to see all but the
// numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace cachalot {

// Bytes from the beginning of the file to the end of its header; none when `begin` is too short to tell. What is no
// such file ends at once: its parser says what is wrong.
std::optional<int64_t> safetensors_header_bytes(std::string_view begin);
std::optional<int64_t> gguf_header_bytes(std::string_view begin);

}  // namespace cachalot
