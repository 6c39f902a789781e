#include "base/cgroup.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace cachalot {

namespace fs = std::filesystem;

namespace {

// A mounted hierarchy of groups: version 2, or the one of version 1 that has the controller in question.
struct Mount {
  bool v2;
  std::string root;   // the group that is seen at the top of it
  std::string point;  // where it is mounted
};

// One group that limits this process, and whether it is the process's own or one above it.
struct Group {
  bool v2;
  fs::path folder;
  bool own;
};

// Whether `word` is one of the words of a list with commas.
bool lists(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (list.substr(0, comma) == word) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

// mountinfo writes white space and backslashes as \ooo.
std::string unescaped(std::string_view text) {
  std::string plain;
  const auto digit = [&](size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '7'; };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && digit(i + 1) && digit(i + 2) && digit(i + 3)) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// "31 23 0:28 ROOT POINT options [tags …] - TYPE source OPTIONS" per line.
std::vector<Mount> mounts_with(std::string_view controller, const fs::path& root) {
  std::vector<Mount> mounts;
  std::ifstream file(root / "proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string id, parent, device, seen, point, word, type, source, options;
    words >> id >> parent >> device >> seen >> point;
    while (words >> word && word != "-") {}
    words >> type >> source >> options;
    if (type == "cgroup2" || (type == "cgroup" && lists(options, controller)))
      mounts.push_back({type == "cgroup2", unescaped(seen), unescaped(point)});
  }
  return mounts;
}

// The path of this process's group: "0::/PATH" is version 2's, "N:CONTROLLERS:/PATH" version 1's.
std::optional<std::string> group_path(bool v2, std::string_view controller, const fs::path& root) {
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const auto controllers = std::string_view(line).substr(first + 1, second - first - 1);
    if (v2 ? line.starts_with("0::") : lists(controllers, controller)) return line.substr(second + 1);
  }
  return std::nullopt;
}

// `path` seen from the group at the top of the mount. A group outside of it (that of a process which entered the
// namespace from outside) is seen as the top itself.
fs::path below_mount(const std::string& path, const std::string& top) {
  const fs::path below = fs::path(path).lexically_relative(top);
  if (below.empty() || *below.begin() == ".." || path.starts_with("/..")) return ".";
  return below;
}

// From this process's own group up to the top of each mount.
std::vector<Group> groups_with(std::string_view controller, const fs::path& root) {
  std::vector<Group> groups;
  for (const Mount& mount : mounts_with(controller, root)) {
    const auto path = group_path(mount.v2, controller, root);
    if (!path) continue;
    const fs::path top = root / fs::path(mount.point).relative_path();
    bool own = true;
    for (fs::path below = below_mount(*path, mount.root); !below.empty() && below != ".";
         below = below.parent_path(), own = false)
      groups.push_back({mount.v2, top / below, own});
    groups.push_back({mount.v2, top, own});
  }
  return groups;
}

// The number that a file begins with; none when it is absent or says "max".
std::optional<int64_t> number_in(const fs::path& path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? std::optional(value) : std::nullopt;
}

// Page cache of a group and those below it. Version 1 counts the group alone under the short names.
int64_t file_bytes(const Group& group) {
  int64_t bytes = 0, value = 0;
  std::ifstream stat(group.folder / "memory.stat");
  const std::string prefix = group.v2 ? "" : "total_";
  for (std::string key; stat >> key >> value;)
    if (key == prefix + "inactive_file" || key == prefix + "active_file") bytes += value;
  return bytes;
}

// A group of version 1 may leave the groups below it to themselves.
bool binds(const Group& group) {
  return group.v2 || group.own || number_in(group.folder / "memory.use_hierarchy").value_or(1) != 0;
}

}  // namespace

std::optional<int64_t> cgroup_available_bytes(const fs::path& root) {
  std::optional<int64_t> available;
  for (const Group& group : groups_with("memory", root)) {
    if (!binds(group)) continue;
    // Beyond memory.high a group is not refused memory but slowed to a crawl.
    const auto names = group.v2 ? std::vector{"memory.max", "memory.high"} : std::vector{"memory.limit_in_bytes"};
    for (const char* name : names) {
      const auto limit = number_in(group.folder / name);
      if (!limit) continue;
      const int64_t taken =
          number_in(group.folder / (group.v2 ? "memory.current" : "memory.usage_in_bytes")).value_or(0);
      const int64_t left = *limit - std::max<int64_t>(0, taken - file_bytes(group));
      available = std::min(available.value_or(left), left);
    }
  }
  return available ? std::optional(std::max<int64_t>(0, *available)) : std::nullopt;
}

double cgroup_cpus(const fs::path& root) {
  double cpus = INFINITY;
  for (const Group& group : groups_with("cpu", root)) {
    double quota = -1, period = 0;  // of microseconds; no number or a negative one: no limit
    if (group.v2) {
      std::ifstream file(group.folder / "cpu.max");
      if (!(file >> quota >> period)) continue;
    } else {
      quota = static_cast<double>(number_in(group.folder / "cpu.cfs_quota_us").value_or(-1));
      period = static_cast<double>(number_in(group.folder / "cpu.cfs_period_us").value_or(0));
    }
    if (quota > 0 && period > 0) cpus = std::min(cpus, quota / period);
  }
  return cpus;
}

}  // namespace cachalot
