#include "server/request_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>

namespace cachalot {

constexpr size_t kMostBytes = 1000;  // of a text

static std::string json_text(std::string_view text) {
  std::string shown(text.substr(0, kMostBytes));
  if (shown.size() < text.size()) shown += fmt::format("… ({} bytes)", text.size());
  return nlohmann::json(shown).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

void RequestLog::text(std::string_view name, std::string_view value) { set(name, json_text(value)); }
void RequestLog::count(std::string_view name, int64_t value) { set(name, fmt::format("{}", value)); }
void RequestLog::number(std::string_view name, double value) {
  set(name, std::isfinite(value) ? fmt::format("{:.3f}", value) : "null");
}

void RequestLog::set(std::string_view name, std::string value) {
  const auto found =
      std::ranges::find(fields_, name, [](const auto& field) { return std::string_view(field.first); });
  if (found == fields_.end())
    fields_.emplace_back(name, std::move(value));
  else
    found->second = std::move(value);
}

std::string RequestLog::line() const {
  std::string line;
  for (const auto& [name, value] : fields_) line += (line.empty() ? "{" : ",") + json_text(name) + ":" + value;
  return line.empty() ? "{}\n" : line + "}\n";
}

std::string log_time() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  std::tm utc = {};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                     utc.tm_hour, utc.tm_min, utc.tm_sec, since % 1000);
}

}  // namespace cachalot
