#include "hub/piece_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/check.h"
#include "base/error.h"

namespace cachalot {

PieceFile::PieceFile(std::filesystem::path path, int64_t size) : path_(std::move(path)), size_(size) {
  there_.resize(static_cast<size_t>((size + kPieceBytes - 1) / kPieceBytes));
  fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd_ < 0) fail("the file cannot be made");
  struct stat known = {};
  if (fstat(fd_, &known) != 0) fail("the file cannot be read");
  if (known.st_size == size_ && size_ > 0) {  // finish() was reached, but not what follows it
    std::fill(there_.begin(), there_.end(), 1);
    return;
  }
  const int64_t whole = size_ + pieces();
  if (known.st_size != whole && (ftruncate(fd_, 0) != 0 || ftruncate(fd_, whole) != 0))
    fail("the file cannot be made");
  if (pread(fd_, there_.data(), there_.size(), size_) != static_cast<ssize_t>(there_.size()))
    fail("the file cannot be read");
}

PieceFile::~PieceFile() {
  if (fd_ >= 0) ::close(fd_);
}

void PieceFile::fail(const char* what) const {
  const int why = errno;
  Error error = Error(what).in(path_.string()).because(std::strerror(why));
  if (why == ENOSPC || why == EDQUOT || why == EFBIG)
    throw std::move(error).hint("make room, and give the same command again: it goes on where it was");
  throw std::move(error).hint("HF_HUB_CACHE names another folder for the cache");
}

ByteRange PieceFile::range(int64_t piece) const {
  const int64_t first = piece * kPieceBytes;
  return {first, std::min(kPieceBytes, size_ - first)};
}

int64_t PieceFile::bytes_there() const {
  int64_t bytes = 0;
  for (int64_t piece = 0; piece < pieces(); ++piece) bytes += has(piece) ? range(piece).size : 0;
  return bytes;
}

int64_t PieceFile::bytes_there(const std::filesystem::path& path, int64_t size) {
  const int64_t pieces = (size + kPieceBytes - 1) / kPieceBytes;
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const auto length = static_cast<int64_t>(file.tellg());
  if (!file || (length != size && length != size + pieces)) return 0;
  if (length == size) return size;
  std::string there(static_cast<size_t>(pieces), '\0');
  file.seekg(size).read(there.data(), pieces);
  int64_t bytes = 0;
  for (int64_t piece = 0; piece < pieces; ++piece)
    bytes += there[static_cast<size_t>(piece)] != 0 ? std::min(kPieceBytes, size - piece * kPieceBytes) : 0;
  return bytes;
}

void PieceFile::write(int64_t offset, std::span<const std::byte> bytes) {
  CHECK(offset >= 0 && offset + static_cast<int64_t>(bytes.size()) <= size_);
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd_, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("the file cannot be written");
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += written;
  }
}

void PieceFile::mark(int64_t piece) {
  const char yes = 1;
  if (pwrite(fd_, &yes, 1, size_ + piece) != 1) fail("the file cannot be written");
  there_[static_cast<size_t>(piece)] = yes;
}

bool PieceFile::is_right(const RemoteFile& file, const std::function<void(int64_t)>& heard) const {
  BlobChecksum checksum(file);
  std::vector<std::byte> buffer(size_t{1} << 20);
  for (int64_t offset = 0; offset < size_;) {
    const auto wanted = static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(buffer.size()), size_ - offset));
    const ssize_t got = pread(fd_, buffer.data(), wanted, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) fail("the file cannot be read");
    checksum.add(std::span(buffer).first(static_cast<size_t>(got)));
    offset += got;
    heard(got);
  }
  return checksum.hex() == file.etag;
}

void PieceFile::finish() {
  if (ftruncate(fd_, size_) != 0 || fsync(fd_) != 0) fail("the file cannot be written");
}

void PieceFile::remove() { ::unlink(path_.c_str()); }

// --- checksums ---

BlobChecksum::BlobChecksum(const RemoteFile& file) : context_(EVP_MD_CTX_new()) {
  auto* context = static_cast<EVP_MD_CTX*>(context_);
  CHECK(context && EVP_DigestInit_ex(context, file.large ? EVP_sha256() : EVP_sha1(), nullptr) == 1);
  if (file.large) return;
  const std::string header = fmt::format("blob {}", file.size);  // and the zero that ends it
  add({reinterpret_cast<const std::byte*>(header.c_str()), header.size() + 1});
}

BlobChecksum::~BlobChecksum() { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_)); }

void BlobChecksum::add(std::span<const std::byte> bytes) {
  CHECK(EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size()) == 1);
}

std::string BlobChecksum::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest = {};
  unsigned size = 0;
  CHECK(EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), digest.data(), &size) == 1);
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

}  // namespace cachalot
