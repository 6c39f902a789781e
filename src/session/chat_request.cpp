#include "session/chat_request.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/quote.h"

namespace cachalot {
namespace {

constexpr size_t kLongestToolName = 64;  // bytes

bool may_be_in_tool_name(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte > ' ' && byte != 0x7F && std::string_view("\"'`\\<>").find(c) == std::string_view::npos;
}

}  // namespace

std::string fault_of_tool_name(std::string_view name) {
  if (name.empty()) return "is empty";
  if (name.size() > kLongestToolName)
    return fmt::format("has {} bytes; names of tools have at most {}", name.size(), kLongestToolName);
  if (std::all_of(name.begin(), name.end(), may_be_in_tool_name)) return "";
  return fmt::format(
      "{} has a character that no name of a tool may have: white space, a quotation mark, a backslash, "
      "< or >",
      quote(name));
}

}  // namespace cachalot
