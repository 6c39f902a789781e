// What Linux control groups grant this process, whichever version manages them and however deep the group lies: a
// group is bound by its own limits and by those of every group above it that can be seen from here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace cachalot {

// Bytes that may still be taken before a group of this process meets its memory limit; page cache, which the kernel
// would drop for it, counts as free. None where nothing limits it. `root`: where proc/ and the groups' file systems
// are looked up.
std::optional<int64_t> cgroup_available_bytes(const std::filesystem::path& root = "/");

// Processors' worth of time that the tightest quota grants; infinite where there is none.
double cgroup_cpus(const std::filesystem::path& root = "/");

}  // namespace cachalot
