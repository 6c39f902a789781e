#include "base/quote.h"

#include <gtest/gtest.h>

namespace cachalot {
namespace {

TEST(Quote, LeavesPlainAndUnicodeTextAsItIs) {
  EXPECT_EQ(quote("model.norm"), "'model.norm'");
  EXPECT_EQ(quote("日本 é 🐋"), "'日本 é 🐋'");
  EXPECT_EQ(quote(""), "''");
}

TEST(Quote, ShowsControlBytesInsteadOfPrintingThem) {
  EXPECT_EQ(quote("\x1b[31m\n\x7f"), "'\\x1b[31m\\x0a\\x7f'");
  EXPECT_EQ(quote("\xc2\x9b"), "'\\xc2\\x9b'") << "a C1 control";
  EXPECT_EQ(quote(std::string_view("\0", 1)), "'\\x00'");
}

TEST(Quote, ShowsBytesThatAreNoUtf8) {
  EXPECT_EQ(quote("\xff"), "'\\xff'");
  EXPECT_EQ(quote("\xc3"), "'\\xc3'") << "cut off";
  EXPECT_EQ(quote("\xc0\xaf"), "'\\xc0\\xaf'") << "overlong";
  EXPECT_EQ(quote("\xe0\x80\x80"), "'\\xe0\\x80\\x80'") << "overlong";
  EXPECT_EQ(quote("\xf0\x80\x80\x80"), "'\\xf0\\x80\\x80\\x80'") << "overlong";
  EXPECT_EQ(quote("\xed\xa0\x80"), "'\\xed\\xa0\\x80'") << "a surrogate";
  EXPECT_EQ(quote("\xf4\x90\x80\x80"), "'\\xf4\\x90\\x80\\x80'") << "beyond U+10FFFF";
}

TEST(Quote, CutsALongText) { EXPECT_EQ(quote(std::string(1000, 'a'), 4), "'aaaa…' (1000 bytes)"); }

}  // namespace
}  // namespace cachalot
