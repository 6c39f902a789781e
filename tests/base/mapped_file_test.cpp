#include "base/mapped_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "base/whole_file.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;

class MappedFileDeathTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "cachalot-mapped-XXXXXX").string();
    ASSERT_TRUE(mkdtemp(name.data()));
    folder_ = name;
    for (const char* file : {"a", "b"}) std::ofstream(folder_ / file) << std::string(100000, 'x');
  }
  void TearDown() override { fs::remove_all(folder_); }
  static char last(const MappedFile& file) {
    return static_cast<char>(*const_cast<const volatile std::byte*>(&file.bytes().back()));
  }

  fs::path folder_;
};

TEST_F(MappedFileDeathTest, AFileThatShrinksWhileItIsReadIsNamedAndNothingIsLeftBehind) {
  const auto shrink = [&] {
    const MappedFile a(folder_ / "a");
    MappedFile moved(folder_ / "b");
    const MappedFile b = std::move(moved);
    WholeFile unfinished(folder_ / "out", WholeFile::Existing::keep);
    fs::resize_file(folder_ / "b", 5000);
    last(a);
    last(b);
  };
  EXPECT_EXIT(shrink(), testing::ExitedWithCode(1),
              "in '.*/b': the file can no longer be read\n  because: it was cut off");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 2);
}

TEST_F(MappedFileDeathTest, OtherBusErrorsEndTheProcessAsEver) {
  const auto elsewhere = [&] {
    { const MappedFile gone(folder_ / "a"); }
    const MappedFile file(folder_ / "b");
    raise(SIGBUS);  // asks by address; the next one ends the process
    raise(SIGBUS);
  };
  EXPECT_EXIT(elsewhere(), testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace cachalot
