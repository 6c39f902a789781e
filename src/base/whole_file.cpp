#include "base/whole_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/quote.h"

namespace cachalot {

namespace fs = std::filesystem;

WholeFile::WholeFile(const fs::path& path, Existing existing) : path_(path), partial_(path) {
  std::error_code code;
  const fs::file_status status = fs::status(path, code);
  const bool there = fs::exists(status), regular = fs::is_regular_file(status);
  if (there && regular && existing == Existing::keep)
    throw Error("the file exists already").in(quote(path.string(), 1000)).hint("--force replaces it");
  if (!there || regular) partial_ += ".partial";
  file_ = fs::is_directory(status) ? (errno = EISDIR, nullptr) : std::fopen(partial_.c_str(), "wb");
  if (!file_) fail("the file cannot be made");
}

void WholeFile::discard() {
  if (!file_) return;
  std::fclose(std::exchange(file_, nullptr));
  std::error_code code;
  if (partial_ != path_) fs::remove(partial_, code);
}

void WholeFile::write(std::span<const std::byte> bytes) {
  CHECK(file_);
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) fail("the file cannot be written");
}

void WholeFile::finish() {
  CHECK(file_);
  if (std::fflush(file_) != 0) fail("the file cannot be written");
  if (std::fclose(std::exchange(file_, nullptr)) != 0) {
    const int reason = errno;
    std::error_code code;
    if (partial_ != path_) fs::remove(partial_, code);
    errno = reason;
    fail("the file cannot be written");
  }
  if (partial_ == path_) return;
  std::error_code code;
  fs::rename(partial_, path_, code);
  if (code) {
    const int reason = code.value();
    fs::remove(partial_, code);
    errno = reason;
    fail("the finished file cannot be put in its place");
  }
}

void WholeFile::fail(const char* what) {
  const int reason = errno;
  discard();
  throw Error(what).in(quote(path_.string(), 1000)).because(std::strerror(reason));
}

}  // namespace cachalot
