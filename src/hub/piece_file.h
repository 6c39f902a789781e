// What there is of a blob that is being fetched: its bytes, in pieces that come in any order, and behind them a byte
// for each piece that says whether it is there. That byte is written after the piece, so a process that is killed
// leaves what the next one goes on with. (What a machine that loses power leaves is caught by the checksum.)
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "hub/repository.h"

namespace cachalot {

class PieceFile {
 public:
  static constexpr int64_t kPieceBytes = int64_t{8} << 20;

  // Goes on with the file at `path`, or begins it. Throws Error.
  PieceFile(std::filesystem::path path, int64_t size);
  ~PieceFile();
  PieceFile(const PieceFile&) = delete;
  PieceFile& operator=(const PieceFile&) = delete;

  int64_t pieces() const { return static_cast<int64_t>(there_.size()); }
  ByteRange range(int64_t piece) const;
  bool has(int64_t piece) const { return there_[static_cast<size_t>(piece)] != 0; }
  int64_t bytes_there() const;
  // The same of a file that is only looked at, which another process may be writing.
  static int64_t bytes_there(const std::filesystem::path& path, int64_t size);

  // Any thread may write pieces of its own. Throws Error, as on a full disk.
  void write(int64_t offset, std::span<const std::byte> bytes);
  void mark(int64_t piece);

  // Once all pieces are there: whether they have the checksum that names the blob. `heard` gets bytes that were read.
  bool is_right(const RemoteFile& file, const std::function<void(int64_t)>& heard) const;
  // Cuts off what says which pieces are there. The file is whole then, and on the disk.
  void finish();
  void remove();

 private:
  [[noreturn]] void fail(const char* what) const;
  std::filesystem::path path_;
  int64_t size_;
  int fd_ = -1;
  std::vector<char> there_;
};

// The checksum of bytes as a blob's name spells it: SHA-256, or of small files git's SHA-1 of a blob.
class BlobChecksum {
 public:
  explicit BlobChecksum(const RemoteFile& file);
  ~BlobChecksum();
  BlobChecksum(const BlobChecksum&) = delete;
  BlobChecksum& operator=(const BlobChecksum&) = delete;
  void add(std::span<const std::byte> bytes);
  std::string hex();

 private:
  void* context_;  // EVP_MD_CTX
};

}  // namespace cachalot
