// An output file that appears under its name only when it is whole: until finish() it is NAME.partial beside it,
// which goes away when finish() is not reached. A device or pipe is written directly. One thread uses it.
#pragma once

#include <cstdio>
#include <filesystem>
#include <span>

namespace cachalot {

class WholeFile {
 public:
  enum class Existing { replace, keep };
  // Throws Error when the file cannot be made, and for `keep` when there is one of that name.
  WholeFile(const std::filesystem::path& path, Existing existing);
  ~WholeFile() { discard(); }
  WholeFile(const WholeFile&) = delete;
  WholeFile& operator=(const WholeFile&) = delete;

  // Throws Error, for example on a full disk; nothing is left behind then.
  void write(std::span<const std::byte> bytes);
  // Flushes and puts the file in its place. Throws Error when that fails.
  void finish();
  bool open() const { return file_ != nullptr; }

 private:
  void discard();
  [[noreturn]] void fail(const char* what);

  std::filesystem::path path_, partial_;
  std::FILE* file_ = nullptr;
};

}  // namespace cachalot
