// A file mapped read-only. Owns the mapping; moves, never copies; immutable, so any thread may read. Reading what is
// no longer there, since the file was cut off meanwhile or its disk fails, ends the process: a message that names the
// file, status 1, no unfinished files (ending.h).
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace cachalot {

class MappedFile {
 public:
  // Throws Error when the file cannot be opened, is not a regular file or cannot be mapped. An empty file maps to no
  // bytes.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

  // Gives the whole pages inside `part` back to the system; they are read again from the file when touched.
  void release(std::span<const std::byte> part) const;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// The whole text of a small file. Throws Error when it cannot be read or is longer than `limit_bytes`.
std::string read_text_file(const std::filesystem::path& path, size_t limit_bytes = size_t{64} << 20);

}  // namespace cachalot
