#include "base/whole_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/ending.h"
#include "base/error.h"
#include "base/quote.h"

namespace cachalot {

namespace fs = std::filesystem;

static std::string place(const fs::path& path) { return quote(path.string(), 1000); }

static Error failure(const char* what, const fs::path& path, int reason) {
  return Error(what).in(place(path)).because(std::strerror(reason));
}

static Error exists_already(const fs::path& path) {
  return Error("the file exists already").in(place(path)).hint("--force replaces it");
}

// -- Where the file is to be

struct WholeFile::Target {
  fs::path path;
  bool direct = false;     // written where it is
  struct stat existing{};  // of the file that is there; st_nlink is 0 when none is
};

static bool in_proc(const fs::path& link) {
  struct statfs info{};
  const fs::path folder = link.parent_path();
  return ::statfs(folder.empty() ? "." : folder.c_str(), &info) == 0 && info.f_type == PROC_SUPER_MAGIC;
}

// Follows links to their end, whether there is a file or not. A link of /proc is no path but an open file.
static fs::path end_of_links(fs::path path, bool& open_file) {
  constexpr int kMostLinks = 40;  // as the kernel
  std::error_code code;
  for (int links = 0; links < kMostLinks && fs::is_symlink(fs::symlink_status(path, code)); ++links) {
    open_file = in_proc(path);
    if (open_file) break;
    path = path.parent_path() / fs::read_symlink(path, code);
  }
  return path;
}

WholeFile::Target WholeFile::look(const fs::path& path, Existing existing, Inputs inputs) {
  Target target;
  bool open_file = false;
  target.path = end_of_links(path, open_file);
  const char* cannot = "the file cannot be made";
  if (::stat(target.path.c_str(), &target.existing) != 0) {
    if (errno != ENOENT || target.path.filename().empty()) throw failure(cannot, path, errno);
    return target;
  }
  for (const fs::path& input : inputs) {
    struct stat read{};
    if (::stat(input.c_str(), &read) != 0) continue;
    if (read.st_dev == target.existing.st_dev && read.st_ino == target.existing.st_ino && S_ISREG(read.st_mode))
      throw Error("the output is a file that is read")
          .in(place(path))
          .because(input == path ? "the command reads it" : "it is " + place(input))
          .hint("give the output another name");
  }
  if (S_ISDIR(target.existing.st_mode)) throw failure(cannot, path, EISDIR);
  target.direct = open_file || !S_ISREG(target.existing.st_mode);
  if (!target.direct && existing == Existing::keep) throw exists_already(path);
  return target;
}

void WholeFile::check(const fs::path& path, Existing existing, Inputs inputs) { look(path, existing, inputs); }

// -- From its beginning to its end

WholeFile::WholeFile(const fs::path& path, Existing existing, Inputs inputs) : path_(path), existing_(existing) {
  const Target target = look(path, existing, inputs);
  target_ = target.path;
  file_ = target.direct ? std::fopen(target_.c_str(), "wbe") : open_partial(target);
  if (!file_) fail("the file cannot be made");
}

// A name that no other run has, so that two of them do not write into one file.
std::FILE* WholeFile::open_partial(const Target& target) {
  constexpr size_t kLongestStem = 200;  // of the 255 bytes that a name may have
  constexpr int kMostNames = 1000;
  const std::string stem = target.path.filename().string().substr(0, kLongestStem) + "." + std::to_string(::getpid());
  const SignalsHeld between_making_and_remembering;
  int fd = -1;
  for (int i = 0; fd < 0 && i < kMostNames; ++i) {
    partial_ = target.path.parent_path() / (stem + (i > 0 ? "-" + std::to_string(i) : "") + ".partial");
    fd = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno != EEXIST) break;
  }
  if (fd < 0) {
    partial_.clear();
    return nullptr;
  }
  remember_unfinished(partial_.c_str());
  if (target.existing.st_nlink > 0) {
    const bool owned = ::fchown(fd, target.existing.st_uid, target.existing.st_gid) == 0;  // not everyone may
    ::fchmod(fd, target.existing.st_mode & (owned ? 07777 : 0777));
  }
  std::FILE* file = ::fdopen(fd, "wb");
  if (!file) ::close(fd);
  return file;
}

void WholeFile::discard() {
  if (file_) std::fclose(std::exchange(file_, nullptr));
  if (partial_.empty()) return;
  ::unlink(partial_.c_str());
  forget_unfinished(partial_.c_str());
  partial_.clear();
}

void WholeFile::write(std::span<const std::byte> bytes) {
  CHECK(file_);
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) fail("the file cannot be written");
}

// rename() that fails with EEXIST where there is a file.
static int rename_new(const char* from, const char* to) {
  if (::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return -1;
  // The file system does not know how: a second name then, or, where a file has one only, a look before.
  if (::link(from, to) == 0) return ::unlink(from);
  if (struct stat info; errno == EEXIST || ::lstat(to, &info) == 0) {
    errno = EEXIST;
    return -1;
  }
  return std::rename(from, to);
}

void WholeFile::finish() {
  CHECK(file_);
  if (std::fflush(file_) != 0 || (!partial_.empty() && ::fsync(fileno(file_)) != 0))
    fail("the file cannot be written");
  if (std::fclose(std::exchange(file_, nullptr)) != 0) fail("the file cannot be written");
  if (partial_.empty()) return;
  const SignalsHeld between_moving_and_forgetting;
  const bool keep = existing_ == Existing::keep;
  if ((keep ? rename_new : std::rename)(partial_.c_str(), target_.c_str()) != 0) {
    if (!keep || errno != EEXIST) fail("the finished file cannot be put in its place");
    discard();
    throw exists_already(path_);
  }
  forget_unfinished(partial_.c_str());
  partial_.clear();
}

void WholeFile::fail(const char* what) {
  const int reason = errno;
  discard();
  throw failure(what, path_, reason);
}

}  // namespace cachalot
