#include "formats/json_text.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/quote.h"

namespace cachalot {

std::string json_complaint(const std::exception& error) {
  std::string_view text = error.what();
  if (const size_t end = text.find("] "); text.starts_with('[') && end != text.npos) text.remove_prefix(end + 2);
  const std::string quoted = quote(text, 300);
  return quoted.substr(1, quoted.rfind('\'') - 1);
}

template <typename Json>
static Json parse_bounded(std::string_view text, std::string_view where, JsonLimits limits) {
  using Event = typename Json::parse_event_t;
  size_t values = 0;
  const auto bound = [&](int depth, Event event, Json&) {
    if (event != Event::object_start && event != Event::array_start && event != Event::value) return true;
    if (depth >= limits.depth && event != Event::value)
      throw Error(fmt::format("the JSON is nested more than {} deep", limits.depth)).in(where);
    if (++values > limits.values)
      throw Error(fmt::format("the JSON holds more than {} values", limits.values)).in(where);
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), bound);
  } catch (const nlohmann::json::exception& error) {
    throw Error("the text is not valid JSON").in(where).because(json_complaint(error));
  }
}

void refuse_nul(std::string_view text, std::string_view where) {
  if (const size_t at = text.find('\0'); at != text.npos)
    throw Error("the text is not valid JSON").in(where).because(fmt::format("byte {} is NUL", at));
}

nlohmann::json parse_json(std::string_view text, std::string_view where, JsonLimits limits) {
  refuse_nul(text, where);
  return parse_bounded<nlohmann::json>(text, where, limits);
}
nlohmann::ordered_json parse_ordered_json(std::string_view text, std::string_view where, JsonLimits limits) {
  return parse_bounded<nlohmann::ordered_json>(text, where, limits);
}

}  // namespace cachalot
