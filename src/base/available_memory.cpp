#include "base/available_memory.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

#include "base/cgroup.h"

namespace cachalot {

namespace fs = std::filesystem;

// The number behind `label` in a file of lines "label   123 …"; none when it is absent or no number ("unlimited").
static std::optional<int64_t> labelled(const fs::path& path, std::string_view label) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(label)) continue;
    const char* text = line.c_str() + label.size();
    char* end = nullptr;
    const int64_t value = std::strtoll(text, &end, 10);
    return end == text ? std::nullopt : std::optional(value);
  }
  return std::nullopt;
}

int64_t available_memory_bytes(const fs::path& root) {
  constexpr int64_t kib = 1024;
  const fs::path process = root / "proc/self";
  const auto system = labelled(root / "proc/meminfo", "MemAvailable:");
  int64_t available = system ? *system * kib : INT64_MAX;
  if (const auto granted = cgroup_available_bytes(root)) available = std::min(available, *granted);
  for (const auto& [limit, taken] :
       {std::pair{"Max address space", "VmSize:"}, std::pair{"Max data size", "VmData:"}})
    if (const auto most = labelled(process / "limits", limit))
      available = std::min(available, *most - labelled(process / "status", taken).value_or(0) * kib);
  return std::max<int64_t>(0, available);
}

}  // namespace cachalot
