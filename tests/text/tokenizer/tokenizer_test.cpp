// Small vocabularies made by hand. Real ones: tests/formats/tokenizer_goldens_test.cpp.
#include "text/tokenizer/tokenizer.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/random.h"
#include "text/tokenizer/stream_decoder.h"
#include "text/unicode.h"

namespace cachalot {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Ids 0 to 255 are the bytes; then come the results of `merges`, in order.
Vocabulary small_vocabulary(std::vector<std::pair<std::string, std::string>> merges = {}) {
  Vocabulary v;
  v.where = "small";
  for (int byte = 0; byte < 256; ++byte)
    v.tokens.push_back(letters_of_bytes(std::string(1, static_cast<char>(byte))));
  for (const auto& [left, right] : merges) v.tokens.push_back(left + right);
  v.merges = std::move(merges);
  v.steps = {ByteLevelStep{.use_regex = true}};
  return v;
}

AddedToken added(int id, std::string content) { return {.id = id, .content = std::move(content)}; }

std::string error_of(Vocabulary v) {
  try {
    Tokenizer t(std::move(v));
  } catch (const Error& error) { return error.what(); }
  return "no error";
}

TEST(Tokenizer, MergesTheLowestRankFirstAndTheLeftmostAmongEquals) {
  const Tokenizer t(small_vocabulary({{"b", "c"}, {"a", "b"}, {"a", "a"}, {"aa", "a"}}));
  EXPECT_THAT(t.encode("abc"), ElementsAre('a', 256));
  EXPECT_THAT(t.encode("ab"), ElementsAre(257));
  EXPECT_THAT(t.encode("aaa"), ElementsAre(259));
  EXPECT_THAT(t.encode("aaaa"), ElementsAre(258, 258));
  EXPECT_THAT(t.encode(""), ElementsAre());
}

TEST(Tokenizer, MergesLongPiecesAsShortOnes) {
  // The heap of long pieces against the plain rule, on random words over few letters.
  std::vector<std::pair<std::string, std::string>> merges = {{"a", "b"},  {"b", "a"},   {"ab", "a"}, {"a", "a"},
                                                             {"aa", "b"}, {"ab", "ab"}, {"b", "b"},  {"aba", "bb"},
                                                             {"c", "a"},  {"ba", "ba"}};
  const Vocabulary v = small_vocabulary(merges);
  const Tokenizer t(v);
  Random random(5);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> symbols;
    std::string text;
    const int length = 1 + static_cast<int>(random.next() % 150);
    for (int i = 0; i < length; ++i) text += static_cast<char>('a' + random.next() % 3);
    for (const char c : text) symbols.emplace_back(1, c);
    for (bool merged = true; merged;) {
      merged = false;
      for (const auto& [left, right] : merges) {
        const auto at = std::adjacent_find(symbols.begin(), symbols.end(),
                                           [&](const auto& a, const auto& b) { return a == left && b == right; });
        if (at == symbols.end()) continue;
        *at += *(at + 1);
        symbols.erase(at + 1);
        merged = true;
        break;
      }
    }
    std::vector<int> want;
    for (const auto& symbol : symbols) want.push_back(*t.find(symbol));
    ASSERT_EQ(t.encode(text), want) << text;
  }
}

TEST(Tokenizer, EmitsAWholePieceAtOnceWhenMergesAreIgnored) {
  Vocabulary v = small_vocabulary({{"a", "b"}});
  v.tokens.push_back("Ġabc");
  EXPECT_THAT(Tokenizer(v).encode(" abc"), ElementsAre(' ', 256, 'c'));
  v.ignore_merges = true;
  EXPECT_THAT(Tokenizer(v).encode(" abc"), ElementsAre(257));
}

TEST(Tokenizer, TakesTheLongestAddedTokenThatStartsFirst) {
  Vocabulary v = small_vocabulary();
  v.added = {added(256, "<a"), added(257, "<a>"), added(258, "a><"), added(259, "<a>b"), added(260, "é")};
  const Tokenizer t(v);
  EXPECT_THAT(t.encode("x<a>b<a>c<a"), ElementsAre('x', 259, 257, 'c', 256));
  EXPECT_THAT(t.encode("a><a>"), ElementsAre(258, 'a', '>'));
  EXPECT_THAT(t.encode("<<a>"), ElementsAre('<', 257));
  EXPECT_EQ(t.find("<a>"), 257);
  EXPECT_EQ(t.find("<"), '<');
  EXPECT_EQ(t.find("no such"), std::nullopt);
}

TEST(Tokenizer, KeepsSpecialTokensInUserTextAsPlainText) {
  Vocabulary v = small_vocabulary();
  v.added = {{.id = 256, .content = "<end>", .special = true},
             added(257, "<tool>"),
             added(258, "ø"),
             added(259, "   "),
             {.id = 260, .content = "|", .special = true}};
  const Tokenizer t(v);
  EXPECT_THAT(t.encode("<end><tool>|", true), ElementsAre(256, 257, 260));
  for (const int id : t.encode("<end><tool>|", false)) EXPECT_LT(id, 256);
  // Ordinary text that happens to be an added token is no way to forge anything.
  EXPECT_THAT(t.encode("øx   y", false), ElementsAre(258, 'x', 259, 'y'));
}

TEST(Tokenizer, StripsAroundAddedTokensAndKeepsThemFromWordsAsTheySay) {
  Vocabulary v = small_vocabulary();
  v.added = {{.id = 256, .content = "<L>", .lstrip = true},
             {.id = 257, .content = "<R>", .rstrip = true},
             {.id = 258, .content = "word", .single_word = true}};
  const Tokenizer t(v);
  EXPECT_THAT(t.encode("a \u3000\n<L> b"), ElementsAre('a', 256, ' ', 'b'));
  EXPECT_THAT(t.encode("a <R> \t b"), ElementsAre('a', ' ', 257, 'b'));
  EXPECT_THAT(t.encode("<R>  <L>"), ElementsAre(257, 256));
  EXPECT_THAT(t.encode("word.word"), ElementsAre(258, '.', 258));
  EXPECT_EQ(t.encode("words").size(), 5u);
  EXPECT_EQ(t.encode("éword").size(), 6u);
  EXPECT_EQ(t.encode("word_").size(), 5u);
}

TEST(Tokenizer, LooksForNormalizedTokensAfterNormalisationAndForTheOthersBefore) {
  Vocabulary v = small_vocabulary();
  v.nfc = true;
  v.added = {{.id = 256, .content = "<e\u0301>", .normalized = true}, {.id = 257, .content = "[e\u0301]"}};
  const Tokenizer t(v);
  EXPECT_THAT(t.encode("<\u00E9>"), ElementsAre(256));
  EXPECT_THAT(t.encode("<e\u0301>"), ElementsAre(256));
  EXPECT_THAT(t.encode("[e\u0301]"), ElementsAre(257));
  EXPECT_EQ(t.encode("[\u00E9]").size(), 4u);
}

TEST(Tokenizer, RepairsMalformedTextBeforeItDoesAnythingElse) {
  const Tokenizer t(small_vocabulary());
  EXPECT_EQ(t.encode("a\xFFz"), t.encode("a\uFFFDz"));
  EXPECT_EQ(t.encode("\xE4\xBD"), t.encode("\uFFFD"));
}

TEST(Tokenizer, DecodesToValidTextWhateverTheIds) {
  Vocabulary v = small_vocabulary();
  v.added = {{.id = 260, .content = "<end>", .special = true}};
  const Tokenizer t(v);
  EXPECT_EQ(t.size(), 261);
  EXPECT_EQ(t.decode(std::vector{0xE4, 0xBD, 0xA0, 260}), "你<end>");
  EXPECT_EQ(t.decode(std::vector{0xE4, 0xBD, 0xA0, 260}, true), "你");
  EXPECT_EQ(t.decode(std::vector{0xE4, 0xBD, 260}), "\uFFFD<end>");
  EXPECT_EQ(t.decode(std::vector<int>{257, 258, -5, 1 << 30, 'x'}), "x") << "ids without a token";
  EXPECT_EQ(t.piece(0xE4), "<0xE4>");
  EXPECT_EQ(t.piece(260), "<end>");
  EXPECT_EQ(t.bytes(999), "");
}

TEST(Tokenizer, AddsBosAndEosOnlyWhenAsked) {
  Vocabulary v = small_vocabulary();
  v.added = {added(256, "<s>"), added(257, "</s>")};
  v.bos = 256;
  v.eos = 257;
  EXPECT_THAT(Tokenizer(v).encode_with_bos("a"), ElementsAre('a'));
  v.add_bos = v.add_eos = true;
  const Tokenizer t(v);
  EXPECT_THAT(t.encode_with_bos("a"), ElementsAre(256, 'a', 257));
  EXPECT_THAT(t.encode_with_bos(""), ElementsAre(256, 257));
  EXPECT_THAT(t.encode("a"), ElementsAre('a'));
}

TEST(Tokenizer, GivesTheSameIdsWithAndWithoutItsCacheOfPieces) {
  const Tokenizer t(small_vocabulary({{"t", "h"}, {"th", "e"}, {"Ġ", "the"}}));
  const std::string line = " the other thing, there: 12 the\n";
  const auto once = t.encode(line);
  std::string text;
  std::vector<int> want;
  for (int i = 0; i < 500; ++i) {
    text += line;
    want.insert(want.end(), once.begin(), once.end());
  }
  EXPECT_EQ(t.encode(text), want);
}

TEST(Tokenizer, RefusesVocabulariesThatCannotWork) {
  Vocabulary v = small_vocabulary({{"a", "b"}});
  v.merges.emplace_back("a", "\x1b[31m");
  EXPECT_THAT(error_of(v), HasSubstr("in small: merge 1 ('a' + '\\x1b[31m') needs the token"));
  v = small_vocabulary();
  v.tokens.push_back("a");
  EXPECT_THAT(error_of(v), HasSubstr("listed twice, as 97 and 256"));
  v = small_vocabulary();
  v.added = {added(256, "<a>"), added(256, "<b>")};
  EXPECT_THAT(error_of(v), HasSubstr("id 256 is taken by two added tokens"));
  v.added = {added(256, "<a>"), added(257, "<a>")};
  EXPECT_THAT(error_of(v), HasSubstr("'<a>' is listed twice"));
  v.added = {added('a', "<a>")};
  EXPECT_THAT(error_of(v), HasSubstr("taken twice"));
  v.added = {added(-1, "<a>")};
  EXPECT_THAT(error_of(v), HasSubstr("out of range"));
  v.added = {added(1 << 30, "<a>")};
  EXPECT_THAT(error_of(v), HasSubstr("out of range"));
  v.added = {added(256, "")};
  EXPECT_THAT(error_of(v), HasSubstr("no content"));
  v.added = {added(256, std::string(1000, 'x'))};
  EXPECT_THAT(error_of(v), HasSubstr("1000 bytes long"));
  v = small_vocabulary();
  v.add_bos = true;
  EXPECT_THAT(error_of(v), HasSubstr("no such token is named"));
  v.bos = 300;
  EXPECT_THAT(error_of(v), HasSubstr("the vocabulary ends at 255"));
  v = small_vocabulary();
  v.steps = {SplitStep{.pattern = "("}};
  EXPECT_THAT(error_of(v), HasSubstr("in small: the pre-tokeniser's expression '('"));
}

// Expected: Hugging Face's library (tests/goldens/tokenizers/missing_bytes.json, made by
// tools/goldens/missing_bytes.py).
TEST(Tokenizer, LeavesOutAByteThatHasNoTokenOrTakesTheUnknownOne) {
  const auto golden = nlohmann::json::parse(
      read_text_file(std::filesystem::path(CACHALOT_SOURCE_DIR) / "tests/goldens/tokenizers/missing_bytes.json"));
  for (const auto& c : golden["cases"]) {
    Vocabulary v;
    v.tokens = golden["tokens"].get<std::vector<std::string>>();
    v.merges = golden["merges"].get<decltype(v.merges)>();
    v.steps = {ByteLevelStep{.use_regex = false}};
    if (!c["unknown"].is_null()) v.unknown = c["unknown"].get<int>();
    const Tokenizer t(v);
    const auto texts = golden["texts"].get<std::vector<std::string>>();
    for (size_t i = 0; i < texts.size(); ++i)
      EXPECT_EQ(t.encode(texts[i]), c["ids"][i].get<std::vector<int>>()) << i << ": " << texts[i];
  }
}

TEST(StreamDecoder, HoldsBackUnfinishedCharactersAndGivesTheSameTextInTheEnd) {
  Vocabulary v = small_vocabulary();
  v.added = {{.id = 256, .content = "<end>", .special = true}};
  const Tokenizer t(v);
  for (const std::string text : {"plain", "é漢🙂", "a\xFF\xE4\xBD!", "\xF0\x9F\x99", "\xED\xA0\x80x", "\xC3"}) {
    std::vector<int> ids;
    for (const char byte : text) ids.push_back(static_cast<uint8_t>(byte));
    ids.push_back(256);
    StreamDecoder stream(t, false);
    std::string streamed;
    for (const int id : ids) {
      const std::string part = stream.push(id);
      EXPECT_TRUE(is_valid_utf8(part));
      streamed += part;
    }
    streamed += stream.flush();
    EXPECT_EQ(streamed, t.decode(ids)) << text;
  }
  StreamDecoder stream(t, true);
  EXPECT_EQ(stream.push(0xF0), "");
  EXPECT_EQ(stream.push(0x9F), "");
  EXPECT_EQ(stream.push(256), "") << "a special token is skipped and does not end a character";
  EXPECT_EQ(stream.push(0x99), "");
  EXPECT_EQ(stream.push(0x82), "🙂");
  EXPECT_EQ(stream.push(0xE4), "");
  EXPECT_EQ(stream.flush(), "\uFFFD");
  EXPECT_EQ(stream.flush(), "");
}

}  // namespace
}  // namespace cachalot
