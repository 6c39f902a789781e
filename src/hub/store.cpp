#include "hub/store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <thread>

#include "base/error.h"

namespace cachalot {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void cannot(std::string_view what, const fs::path& path, const std::string& why) {
  throw Error(std::string(what))
      .in(path.string())
      .because(why)
      .hint("HF_HUB_CACHE names another folder for the cache");
}

void make_folder(const fs::path& folder) {
  std::error_code code;
  fs::create_directories(folder, code);
  if (code) cannot("the folder cannot be made", folder, code.message());
}

bool is_file_of(const fs::path& path, int64_t size) {
  std::error_code code;
  return fs::is_regular_file(path, code) && static_cast<int64_t>(fs::file_size(path, code)) == size && !code;
}

// What a file system says that has no links, or gives none to us.
bool knows_no_links(const std::error_code& code) {
  return code == std::errc::operation_not_permitted || code == std::errc::operation_not_supported ||
         code == std::errc::not_supported || code == std::errc::function_not_supported ||
         code == std::errc::permission_denied;
}

// A name beside `path` that no other process takes.
fs::path beside(const fs::path& path) { return path.string() + fmt::format(".{}.tmp", getpid()); }

}  // namespace

// --- locks ---

std::optional<FileLock> FileLock::try_take(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0664);
  if (fd < 0) cannot("the lock cannot be opened", path, std::strerror(errno));
  FileLock lock(fd);
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK || errno == EINTR) return std::nullopt;
  return lock;  // no locks on this file system: what two make of one blob is the same
}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

FileLock HubStore::lock(const RemoteFile& file, const std::function<void()>& waiting) const {
  const fs::path path = cache_ / ".locks" / folder_.filename() / (file.etag + ".lock");
  make_folder(path.parent_path());
  for (;;) {
    if (auto lock = FileLock::try_take(path)) return std::move(*lock);
    waiting();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

// --- files ---

std::optional<fs::path> HubStore::find(const std::string& commit, const RemoteFile& file) const {
  for (const fs::path& path : {place(commit, file), blob(file)})
    if (is_file_of(path, file.size)) return path;
  return std::nullopt;
}

void HubStore::prepare() const {
  make_folder(folder_ / "blobs");
  make_folder(folder_ / "snapshots");
  if (access((folder_ / "blobs").c_str(), W_OK) != 0)
    cannot("nothing can be written to the cache", folder_, std::strerror(errno));
}

int64_t HubStore::free_bytes() const {
  fs::path there = folder_;
  std::error_code code;
  while (!fs::exists(there, code) && there.has_relative_path()) there = there.parent_path();
  struct statvfs space = {};
  if (statvfs(there.c_str(), &space) != 0) return std::numeric_limits<int64_t>::max();  // writing will tell
  return static_cast<int64_t>(space.f_bavail) * static_cast<int64_t>(space.f_frsize);
}

void HubStore::keep_blob(const fs::path& whole, const RemoteFile& file) const {
  std::error_code code;
  fs::rename(whole, blob(file), code);
  if (code) cannot("the file cannot be put in its place", blob(file), code.message());
}

void HubStore::link(const std::string& commit, const RemoteFile& file, bool fresh) const {
  const fs::path path = place(commit, file), source = blob(file);
  if (is_file_of(path, file.size)) return;
  make_folder(path.parent_path());
  std::error_code code;
  const fs::path made = beside(path);
  fs::remove(made, code);
  if (links_) fs::create_symlink(source.lexically_relative(path.parent_path()), made, code);
  if (links_ && code && !knows_no_links(code)) cannot("the link cannot be made", path, code.message());
  if (!links_ || code) {
    code.clear();
    if (fresh)
      fs::rename(source, made, code);
    else
      fs::copy_file(source, made, code);
    if (code) cannot("the file cannot be copied", path, code.message());
  }
  fs::rename(made, path, code);
  if (code) cannot("the file cannot be put in its place", path, code.message());
}

void HubStore::write_ref(const std::string& revision, const std::string& commit) const {
  if (revision == commit) return;
  const fs::path path = folder_ / "refs" / revision, made = beside(path);
  make_folder(path.parent_path());
  std::ofstream file(made, std::ios::binary | std::ios::trunc);
  file << commit;
  file.close();
  std::error_code code;
  if (file) fs::rename(made, path, code);
  if (!file || code) cannot("the revision cannot be noted", path, code ? code.message() : std::strerror(errno));
}

}  // namespace cachalot
