#include "text/unicode.h"

#include <gtest/gtest.h>

namespace cachalot {
namespace {

TEST(Utf8, ReplacesEachMaximalMalformedSubsequenceByOneReplacementCharacter) {
  // What Python's bytes.decode(errors="replace") gives.
  EXPECT_EQ(repaired_utf8("plain"), "plain");
  EXPECT_EQ(repaired_utf8("a\xFFz"), "a\uFFFDz");
  EXPECT_EQ(repaired_utf8("\xC0\x80"), "\uFFFD\uFFFD");
  EXPECT_EQ(repaired_utf8("\xE4\xBD"), "\uFFFD");
  EXPECT_EQ(repaired_utf8("\xE4\xBD!"), "\uFFFD!");
  EXPECT_EQ(repaired_utf8("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(repaired_utf8("\xF0\x9F\x99\xF0\x9F\x99\x82"), "\uFFFD🙂");
  EXPECT_EQ(repaired_utf8("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(repaired_utf8("\x80\xBF"), "\uFFFD\uFFFD");
}

TEST(Utf8, AcceptsEveryCodePointAndNoSurrogate) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(text, c);
    ASSERT_TRUE(is_valid_utf8(text)) << static_cast<uint32_t>(c);
    ASSERT_EQ(code_point_at(text, 0).value, c);
    ASSERT_EQ(code_point_before("x" + text, text.size() + 1).value, c);
    for (size_t cut = 1; cut < text.size(); ++cut) {
      ASSERT_EQ(utf8_step(text.substr(0, cut), 0).kind, Utf8::incomplete);
    }
  }
}

TEST(CharClasses, FollowTheGeneralCategories) {
  EXPECT_EQ(char_classes('a'), kLetter);
  EXPECT_EQ(char_classes('7'), kNumber);
  EXPECT_EQ(char_classes('$'), kSymbol);
  EXPECT_EQ(char_classes('!'), kPunctuation);
  EXPECT_EQ(char_classes('\n'), kSpace | kNewline);
  EXPECT_EQ(char_classes('\0'), 0);
  EXPECT_EQ(char_classes(U'½'), kNumber);
  EXPECT_EQ(char_classes(U'Ⅷ'), kNumber);
  EXPECT_EQ(char_classes(U'\u0301'), kMark);
  EXPECT_EQ(char_classes(U'\u3000'), kSpace);
  EXPECT_EQ(char_classes(U'\u0085'), kSpace);
  EXPECT_EQ(char_classes(U'\u200B'), 0) << "the zero-width space is no white space";
  EXPECT_EQ(char_classes(U'漢'), kLetter);
  EXPECT_EQ(char_classes(U'🙂'), kSymbol);
  EXPECT_EQ(char_classes(U'\u0378'), 0) << "not assigned";
}

TEST(NormalFormC, ComposesAndReordersAndLeavesTheRestAlone) {
  EXPECT_EQ(nfc(""), "");
  EXPECT_EQ(nfc("cafe\u0301"), "café");
  EXPECT_EQ(nfc("\u1100\u1161\u11A8"), "각");
  EXPECT_EQ(nfc("a\u0307\u0323"), "\u1EA1\u0307");
  EXPECT_EQ(nfc("\u212B\u2126\u1F7D"), "\u00C5\u03A9\u03CE");
  EXPECT_EQ(nfc("\u0915\u093C"), "\u0915\u093C") << "excluded from composition";
  EXPECT_EQ(nfc("ﬁ２"), "ﬁ２") << "compatibility characters stay";
}

TEST(NormalFormC, IsItsOwnNormalFormForEveryCodePointWithAMark) {
  for (char32_t c = 1; c < 0x30000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(text, c);
    text += "\u0301";
    const std::string once = nfc(text);
    ASSERT_EQ(nfc(once), once) << static_cast<uint32_t>(c);
  }
}

TEST(NormalFormC, TakesLongRunsOfMarksInOrderlyTime) {
  std::string text = "a";
  for (int i = 0; i < 200'000; ++i) text += i % 2 ? "\u0316" : "\u0301";
  const std::string normal = nfc(text);
  EXPECT_EQ(normal.substr(0, 4), "\u00E1\u0316") << "a mark of a lower class does not keep the acute from composing";
  EXPECT_EQ(nfc(normal), normal);
}

TEST(ByteAlphabet, MapsEveryByteToALetterAndBack) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) {
    const char32_t letter = letter_of_byte(static_cast<uint8_t>(byte));
    EXPECT_GT(letter, U' ');
    EXPECT_EQ(byte_of_letter(letter), byte);
    all += static_cast<char>(byte);
  }
  EXPECT_EQ(bytes_of_letters(letters_of_bytes(all)), all);
  EXPECT_EQ(letters_of_bytes(" \n\t\r\xAD"), "ĠĊĉčŃ");
  EXPECT_EQ(bytes_of_letters("a b"), std::nullopt) << "a space is no letter";
  EXPECT_EQ(bytes_of_letters("｜"), std::nullopt);
  EXPECT_EQ(bytes_of_letters("\xFF"), std::nullopt);
}

}  // namespace
}  // namespace cachalot
