// How much memory this process may still take.
#pragma once

#include <cstdint>
#include <filesystem>

namespace cachalot {

// What the system has (swap not counted), bounded by this process's control groups and by its own limits on address
// space and data (`ulimit -v`, `ulimit -d`). `root`: where proc/ and the groups' file systems are looked up.
int64_t available_memory_bytes(const std::filesystem::path& root = "/");

}  // namespace cachalot
