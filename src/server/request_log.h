// One line per request, for programs that read logs: a JSON object. It tells no prompt and no key; what clients write
// (paths, ids, model names) cannot end the line or reach a terminal as anything but ASCII.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cachalot {

class RequestLog {
 public:
  // A field, or its new value.
  void text(std::string_view name, std::string_view value);
  void count(std::string_view name, int64_t value);
  void number(std::string_view name, double value);  // three decimals

  // All fields in the order in which their names came first, and a line end.
  std::string line() const;

 private:
  void set(std::string_view name, std::string value);
  std::vector<std::pair<std::string, std::string>> fields_;  // values as JSON
};

// Now, as "2026-11-30T18:33:18.042Z".
std::string log_time();

}  // namespace cachalot
