#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <mutex>
#include <utility>

#include "base/ending.h"
#include "base/error.h"
#include "base/quote.h"

namespace cachalot {

static Error system_error(const char* what, const std::filesystem::path& path) {
  const int code = errno;
  return Error(what).in(path.string()).because(std::strerror(code));
}

// -- What is mapped, for the handler of SIGBUS, which can neither allocate nor wait

namespace {

// Never freed but used again, since the handler may look at any time; as many as were ever mapped at once.
struct Mapping {
  std::atomic<const std::byte*> begin{nullptr};  // null: free
  std::atomic<size_t> bytes{0};
  std::string message;  // changes only while free
  Mapping* next = nullptr;
};
std::atomic<Mapping*> mappings{nullptr};
std::mutex mappings_change;

void write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

void on_bus_error(int number, siginfo_t* what, void*) {
  const auto* at = static_cast<const std::byte*>(what->si_addr);
  for (const Mapping* m = mappings; m; m = m->next) {
    const std::byte* begin = m->begin;
    if (!begin || at < begin || at >= begin + m->bytes) continue;
    static std::atomic_flag told;  // several threads may come here
    while (told.test_and_set()) ::pause();
    remove_unfinished_files();
    std::signal(SIGPIPE, SIG_IGN);
    write_all(m->message);
    ::_exit(1);
  }
  std::signal(number, SIG_DFL);  // none of ours: the instruction is tried again, and ends the process
}

void hear_bus_errors() {
  struct sigaction ours{};
  ours.sa_sigaction = on_bus_error;
  ours.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &ours, nullptr);
}

// Throws nothing but bad_alloc, and has changed nothing then.
void remember(const std::byte* begin, size_t bytes, const std::filesystem::path& path) {
  std::string message = "cachalot: in " + quote(path.string(), 1000) +
                        ": the file can no longer be read\n  because: it was cut off while it was read, or its disk "
                        "failed\n  hint: leave the file alone meanwhile; write a new one beside it and rename that\n";
  const std::lock_guard lock(mappings_change);
  Mapping* m = mappings;
  while (m && m->begin) m = m->next;
  if (!m) {
    hear_bus_errors();
    m = new Mapping;
    m->next = mappings;
    mappings = m;
  }
  m->message = std::move(message);
  m->bytes = bytes;
  m->begin = begin;
}

void forget(const std::byte* begin) {
  const std::lock_guard lock(mappings_change);
  for (Mapping* m = mappings; m; m = m->next)
    if (m->begin == begin) m->begin = nullptr;
}

}  // namespace

// -- The file

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
  if (!data_) return;
  try {
    remember(data_, size_, path);
  } catch (...) {
    ::munmap(const_cast<std::byte*>(data_), size_);
    throw;
  }
}

MappedFile::~MappedFile() {
  if (!data_) return;
  forget(data_);
  ::munmap(const_cast<std::byte*>(data_), size_);
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
