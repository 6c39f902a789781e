#include "formats/safetensors/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "base/error.h"
#include "formats/safetensors/file.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class SafetensorsWriterTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / (std::string("writer_") + test->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path folder_;
};

TEST_F(SafetensorsWriterTest, WritesWhatTheReaderReads) {
  const fs::path path = folder_ / "a.safetensors";
  SafetensorsWriter writer(path, {{"b", DType::f32, {2, 3}}, {"a", DType::i32, {1}}, {"none", DType::f32, {0, 4}}},
                           {{"made by", "a test"}});
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  writer.append(std::span(values).first(1));
  writer.append(std::span(values).subspan(1));
  const int32_t seven = 7;
  writer.append(std::as_bytes(std::span(&seven, 1)));
  EXPECT_FALSE(fs::exists(path)) << "a file that is not whole must not have the name";
  writer.finish();

  const auto file = SafetensorsFile::parse(MappedFile(path));
  ASSERT_EQ(file.tensors().size(), 3U);
  EXPECT_EQ(file.metadata().at("made by"), "a test");
  EXPECT_THAT(file.find("b")->shape, ElementsAre(2, 3));
  EXPECT_EQ(std::memcmp(file.find("b")->bytes.data(), values.data(), 24), 0);
  EXPECT_EQ(std::memcmp(file.find("a")->bytes.data(), &seven, 4), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.find("b")->bytes.data()) % 8, 0U);
  EXPECT_FALSE(fs::exists(folder_ / "a.safetensors.partial"));
}

TEST_F(SafetensorsWriterTest, LeavesAnExistingFileAloneWhenItIsNotFinished) {
  const fs::path path = folder_ / "a.safetensors";
  std::ofstream(path) << "precious";
  { SafetensorsWriter writer(path, {{"a", DType::f32, {1}}}); }
  std::string text;
  std::ifstream(path) >> text;
  EXPECT_EQ(text, "precious");
  EXPECT_FALSE(fs::exists(folder_ / "a.safetensors.partial"));
}

TEST_F(SafetensorsWriterTest, SaysWhyAFileCannotBeMade) {
  const auto message_for = [](const fs::path& path) -> std::string {
    try {
      SafetensorsWriter writer(path, {});
    } catch (const Error& error) { return error.what(); }
    return "no error";
  };
  EXPECT_THAT(message_for(folder_ / "missing" / "a"), HasSubstr("No such file or directory"));
  EXPECT_THAT(message_for(folder_), HasSubstr("Is a directory"));
}

TEST_F(SafetensorsWriterTest, ReportsAFullDisk) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  SafetensorsWriter writer("/dev/full", {{"a", DType::f32, {1}}});
  const float one = 1;
  writer.append(std::span(&one, 1));
  EXPECT_THROW(writer.finish(), Error);
}

}  // namespace
}  // namespace cachalot
