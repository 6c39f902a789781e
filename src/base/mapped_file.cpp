#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "base/error.h"

namespace cachalot {

static Error system_error(const char* what, const std::filesystem::path& path) {
  const int code = errno;
  return Error(what).in(path.string()).because(std::strerror(code));
}

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) throw system_error("cannot open the file", path);
  struct stat info{};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    throw Error("not a regular file").in(path.string());
  }
  size_ = static_cast<size_t>(info.st_size);
  if (size_ > 0) {
    void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
    if (address == MAP_FAILED) {
      ::close(fd);
      throw system_error("cannot map the file", path);
    }
    data_ = static_cast<const std::byte*>(address);
  }
  ::close(fd);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void MappedFile::release(std::span<const std::byte> part) const {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const size_t before = (page - reinterpret_cast<uintptr_t>(part.data()) % page) % page;
  if (part.size() < before + page) return;
  ::madvise(const_cast<std::byte*>(part.data()) + before, (part.size() - before) / page * page, MADV_DONTNEED);
}

std::string read_text_file(const std::filesystem::path& path, size_t limit_bytes) {
  std::error_code code;
  const auto size = std::filesystem::file_size(path, code);
  if (code) throw Error("cannot read the file").in(path.string()).because(code.message());
  if (size > limit_bytes)
    throw Error("the file is too long for what it should hold")
        .in(path.string())
        .because(std::to_string(size) + " bytes, at most " + std::to_string(limit_bytes) + " are accepted");
  std::ifstream file(path, std::ios::binary);
  std::string text(size, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(size)))
    throw Error("cannot read the file").in(path.string());
  return text;
}

}  // namespace cachalot
