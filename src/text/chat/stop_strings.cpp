#include "text/chat/stop_strings.h"

#include <algorithm>
#include <utility>

namespace cachalot {

StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& s) { return s.empty(); });
}

// Where the longest end of `text` begins that is the beginning of `stop`; text.size() when there is none.
static size_t possible_begin(std::string_view text, std::string_view stop) {
  for (size_t at = text.size() - std::min(text.size(), stop.size() - 1); at < text.size(); ++at)
    if (stop.starts_with(text.substr(at))) return at;
  return text.size();
}

std::string StopStrings::push(std::string_view piece) {
  if (found()) return {};
  held_ += piece;
  size_t first = std::string::npos, keep = held_.size();
  for (const std::string& stop : stops_) {
    first = std::min(first, held_.find(stop));
    keep = std::min(keep, possible_begin(held_, stop));
  }
  // A stop text that is complete ends the answer unless an earlier begun one may still be completed.
  if (first != std::string::npos && first <= keep) return end_at(first);
  std::string shown = held_.substr(0, keep);
  held_.erase(0, keep);
  return shown;
}

std::string StopStrings::flush() {
  if (found()) return {};
  size_t first = std::string::npos;
  for (const std::string& stop : stops_) first = std::min(first, held_.find(stop));
  return first == std::string::npos ? std::exchange(held_, {}) : end_at(first);
}

std::string StopStrings::end_at(size_t first) {
  const std::string_view rest = std::string_view(held_).substr(first);
  for (const std::string& stop : stops_)
    if (rest.starts_with(stop) && (found_.empty() || stop.size() < found_.size())) found_ = stop;
  return std::exchange(held_, {}).substr(0, first);
}

}  // namespace cachalot
