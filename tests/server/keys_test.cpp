#include "server/keys.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace cachalot {
namespace {

using testing::AllOf, testing::HasSubstr, testing::Not;

std::string caller(const Keys& keys, std::string_view key) {
  const std::string* caller = keys.caller_of(key);
  return caller ? *caller : "nobody";
}

TEST(Keys, AreLinesWithOrWithoutNames) {
  const Keys keys = Keys::parse(
      "\xef\xbb\xbf# who may come in\n"
      "\n"
      "  sk-one \t Anna of the lab \r\n"
      "sk-two\tbot\n"
      "sk-#three\n"
      "abc\n"
      "sk-new bot",
      "keys");
  EXPECT_EQ(caller(keys, "sk-one"), "Anna of the lab");
  EXPECT_EQ(caller(keys, "sk-two"), "bot");
  EXPECT_EQ(caller(keys, "sk-new"), "bot");        // the one that takes its place
  EXPECT_EQ(caller(keys, "abc"), "key-ba7816bf");  // FIPS 180-2, appendix B.1
  EXPECT_NE(caller(keys, "sk-#three"), "nobody");
  for (const char* wrong : {"", "sk-on", "sk-onee", "SK-ONE", "sk-one ", "# who may come in", "bot", "key-ba7816bf"})
    EXPECT_EQ(caller(keys, wrong), "nobody") << wrong;
}

TEST(Keys, WhatIsNoKeyIsRefusedByItsLineAndNotShown) {
  const auto complaint = [](std::string_view text) -> std::string {
    try {
      Keys::parse(text, "the-file");
    } catch (const Error& error) { return error.what(); }
    return "";
  };
  for (const char* text : {"", "\n\n", "# sk-secret\n"})
    EXPECT_THAT(complaint(text), AllOf(HasSubstr("the-file"), HasSubstr("no key")));
  for (const char* text : {"a\nsk-s\x01"
                           "ecret\n",
                           "a\nsk-s\xc3\xa9"
                           "cret\n",
                           "a\nsk-secret na\x1bme\n", "sk-secret\nsk-secret other\n"})
    EXPECT_THAT(complaint(text), AllOf(HasSubstr("the-file"), HasSubstr("line 2"), Not(HasSubstr("cret")))) << text;
}

TEST(Keys, AreShownAsABearersOrAsAnthropicsClientsDo) {
  const Keys keys = Keys::parse("sk-one one\nsk-two two", "keys");
  const auto asked = [&](http::Headers headers) -> std::string {
    http::Request request;
    request.headers = std::move(headers);
    const std::string* caller = keys.caller_of(request);
    return caller ? *caller : "nobody";
  };
  EXPECT_EQ(asked({{"Authorization", "Bearer sk-one"}}), "one");
  EXPECT_EQ(asked({{"authorization", "bearer   sk-one"}}), "one");
  EXPECT_EQ(asked({{"X-Api-Key", "sk-two"}}), "two");
  EXPECT_EQ(asked({{"Authorization", "Bearer wrong"}, {"x-api-key", "sk-two"}}), "two");
  EXPECT_EQ(asked({}), "nobody");
  EXPECT_EQ(asked({{"Authorization", "sk-one"}}), "nobody");
  EXPECT_EQ(asked({{"Authorization", "Basic sk-one"}}), "nobody");
  EXPECT_EQ(asked({{"Authorization", "Bearer"}}), "nobody");
  EXPECT_EQ(asked({{"Authorization", "Bearer "}}), "nobody");
  EXPECT_EQ(asked({{"Authorization", ""}, {"x-api-key", ""}}), "nobody");
  EXPECT_TRUE(Keys().empty());
}

class KeysFile : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove(path_);
    std::ofstream(path_) << "sk-one one\n";
  }
  void TearDown() override { std::filesystem::remove(path_); }
  std::filesystem::path path_ =
      std::filesystem::path(testing::TempDir()) /
      ("cachalot-keys-" + std::to_string(getpid()) + testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(KeysFile, ThatOthersCanReadIsWarnedOf) {
  for (const auto& [mode, warned] : {std::pair{0600, false}, {0640, false}, {0644, true}}) {
    chmod(path_.c_str(), static_cast<mode_t>(mode));
    testing::internal::CaptureStderr();
    const Keys keys = Keys::read(path_);
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_EQ(said.find("chmod 600") != said.npos, warned) << said;
    EXPECT_EQ(caller(keys, "sk-one"), "one");
  }
}

TEST_F(KeysFile, ThatCannotBeReadIsAnError) {
  EXPECT_THROW(Keys::read(path_.string() + "-none"), Error);
  EXPECT_THROW(Keys::read(path_.parent_path()), Error);
  std::ofstream(path_) << std::string(size_t{2} << 20, '#');
  EXPECT_THROW(Keys::read(path_), Error);
}

}  // namespace
}  // namespace cachalot
