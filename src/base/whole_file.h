// An output file that appears under its name only when it is whole and on the disk. Until finish() it is a new file
// beside it, NAME.PROCESS.partial, which goes away when finish() is not reached, also when a signal ends the process.
// Links are followed: the file at their end is replaced, with its permissions kept. A device, pipe or open file of
// /proc (/dev/stdout) is written directly. The main thread uses it.
#pragma once

#include <cstdio>
#include <filesystem>
#include <span>

namespace cachalot {

class WholeFile {
 public:
  enum class Existing { replace, keep };
  using Inputs = std::span<const std::filesystem::path>;
  // `inputs`: what the content is made from. Throws Error when the file cannot be made, when it is one of the inputs,
  // by whatever name, and for `keep` when there is one of that name.
  WholeFile(const std::filesystem::path& path, Existing existing, Inputs inputs = {});
  ~WholeFile() { discard(); }
  WholeFile(const WholeFile&) = delete;
  WholeFile& operator=(const WholeFile&) = delete;

  // Throws what the constructor would, for who has much to do before it.
  static void check(const std::filesystem::path& path, Existing existing, Inputs inputs);

  // Throws Error, for example on a full disk; nothing is left behind then.
  void write(std::span<const std::byte> bytes);
  // Flushes and puts the file in its place. Throws Error when that fails, and for `keep` when a file of that name has
  // appeared meanwhile.
  void finish();
  bool open() const { return file_ != nullptr; }

 private:
  struct Target;
  static Target look(const std::filesystem::path& path, Existing existing, Inputs inputs);
  std::FILE* open_partial(const Target& target);
  void discard();
  [[noreturn]] void fail(const char* what);

  std::filesystem::path path_;     // as it was given
  std::filesystem::path target_;   // where its links lead
  std::filesystem::path partial_;  // empty: there is none
  Existing existing_;
  std::FILE* file_ = nullptr;
};

}  // namespace cachalot
