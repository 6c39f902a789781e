// What is left of a blob when its process goes away, and its checksum.
#include "hub/piece_file.h"

#include <gmock/gmock.h>

#include <fstream>

#include "base/error.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSize = 2 * PieceFile::kPieceBytes + 10;

class PieceFileTest : public testing::Test {
 protected:
  void TearDown() override { fs::remove(path_); }
  static std::vector<std::byte> bytes(int64_t size) { return std::vector<std::byte>(static_cast<size_t>(size)); }
  static bool right(const PieceFile& file, const RemoteFile& of) {
    return file.is_right(of, [](int64_t) {});
  }
  fs::path path_ = fs::path(testing::TempDir()) / "piece_file_test.incomplete";
};

TEST_F(PieceFileTest, GoesOnWithWhatIsThere) {
  {
    PieceFile file(path_, kSize);
    EXPECT_EQ(file.pieces(), 3);
    EXPECT_EQ(file.bytes_there(), 0);
    file.write(file.range(2).first, bytes(10));
    file.mark(2);
    file.write(0, bytes(100));  // a piece that is not whole
  }
  EXPECT_EQ(PieceFile::bytes_there(path_, kSize), 10);
  EXPECT_EQ(PieceFile::bytes_there(path_, kSize - 1), 0);
  PieceFile file(path_, kSize);
  EXPECT_EQ(file.bytes_there(), 10);
  EXPECT_FALSE(file.has(0));
  EXPECT_TRUE(file.has(2));
}

TEST_F(PieceFileTest, OtherSizesAreBegunAnew) {
  { PieceFile(path_, kSize).mark(0); }
  EXPECT_EQ(PieceFile(path_, kSize + PieceFile::kPieceBytes).bytes_there(), 0);
}

TEST_F(PieceFileTest, WholeOnesAreWhole) {
  {
    PieceFile file(path_, 3);
    file.write(0, std::as_bytes(std::span("abc", 3)));
    file.mark(0);
    file.finish();
  }
  EXPECT_EQ(fs::file_size(path_), 3u);
  const PieceFile file(path_, 3);  // what a process leaves that was ended before the file had its name
  EXPECT_EQ(file.bytes_there(), 3);
  // sha256sum, and git hash-object, of "abc"
  EXPECT_TRUE(right(file, {.path = "x",
                           .size = 3,
                           .etag = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                           .large = true}));
  EXPECT_TRUE(right(file, {.path = "x", .size = 3, .etag = "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f"}));
  EXPECT_FALSE(right(file, {.path = "x", .size = 3, .etag = "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7e"}));
}

TEST_F(PieceFileTest, EmptyFiles) {
  const PieceFile file(path_, 0);
  EXPECT_EQ(file.pieces(), 0);
  EXPECT_TRUE(right(file, {.path = "x", .size = 0, .etag = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"}));  // git's
}

TEST_F(PieceFileTest, LinksAreNotFollowed) {
  fs::create_symlink("/tmp/elsewhere", path_);
  EXPECT_THROW(PieceFile(path_, 3), Error);
}

}  // namespace
}  // namespace cachalot
