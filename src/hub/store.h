// A repository's folder in the hub's cache, written as its client writes it, so that both find the same files:
//   blobs/ETAG                     bytes, under the name of their checksum; there only when whole
//   blobs/ETAG.cachalot.incomplete what we have of one (piece_file.h)
//   snapshots/COMMIT/PATH          a relative link to the blob, or the bytes themselves where links cannot be made
//   refs/REVISION                  a commit, as text
//   CACHE/.locks/FOLDER/ETAG.lock  held (flock) by who makes the blob
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "hub/repository.h"

namespace cachalot {

// A lock that is held while this lives.
class FileLock {
 public:
  // None when another process has it. Throws Error when there can be none.
  static std::optional<FileLock> try_take(const std::filesystem::path& path);
  FileLock(FileLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

class HubStore {
 public:
  HubStore(std::filesystem::path cache, const std::string& repo, bool links)
      : cache_(std::move(cache)), folder_(hub_repository(cache_, repo)), links_(links) {}

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path blob(const RemoteFile& file) const { return folder_ / "blobs" / file.etag; }
  std::filesystem::path snapshot(const std::string& commit) const { return folder_ / "snapshots" / commit; }
  std::filesystem::path place(const std::string& commit, const RemoteFile& file) const {
    return snapshot(commit) / file.path;
  }

  // The bytes of a file that are wholly here, in this snapshot or as a blob; none where they are not.
  std::optional<std::filesystem::path> find(const std::string& commit, const RemoteFile& file) const;
  // Waits for who else makes this blob; `waiting` is called again and again meanwhile, and may throw.
  FileLock lock(const RemoteFile& file, const std::function<void()>& waiting) const;
  // Puts a whole file, which lies in blobs/ but not yet under its name, in its place.
  void keep_blob(const std::filesystem::path& whole, const RemoteFile& file) const;
  // Makes the snapshot have a file whose blob is there. Where no links can be made, by the bytes themselves, as the
  // client does: a `fresh` blob, which nobody else can have, is moved and others are copied.
  void link(const std::string& commit, const RemoteFile& file, bool fresh) const;
  // What the revision was at, when it was fetched. Written when all is there.
  void write_ref(const std::string& revision, const std::string& commit) const;
  // Throws Error unless files can be made there.
  void prepare() const;
  // What the file system has left for us.
  int64_t free_bytes() const;

 private:
  std::filesystem::path cache_, folder_;
  bool links_;
};

}  // namespace cachalot
