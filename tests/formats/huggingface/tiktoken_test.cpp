// Qwen 1's vocabulary file. Ids against those of the tiktoken library (tests/goldens/tiktoken, made by
// tools/goldens/tiktoken_ids.py): of two small vocabularies that are stored, and of Qwen's, which is rebuilt here
// from Qwen3's tokenizer.json, whose first 151,643 tokens are the same.
#include "formats/huggingface/tiktoken.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/huggingface/tokenizer.h"
#include "formats/made_files.h"
#include "formats/real_vocabularies.h"
#include "formats/tiktoken_files.h"
#include "text/tokenizer/tokenizer.h"
#include "text/unicode.h"

namespace cachalot {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<int>;

const std::filesystem::path kGoldens = std::filesystem::path(CACHALOT_SOURCE_DIR) / "tests/goldens";

// The 256 bytes and then `more`, in order.
std::string file_with(const std::vector<std::string>& more = {}) {
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text += tiktoken_line(std::string(1, static_cast<char>(byte)), byte);
  for (size_t i = 0; i < more.size(); ++i) text += tiktoken_line(more[i], 256 + i);
  return text;
}

Tokenizer tokenizer_of(const std::string& text) { return Tokenizer(parse_qwen_tiktoken(text, "file")); }

std::string error_of(const std::string& text) {
  try {
    parse_qwen_tiktoken(text, "file");
  } catch (const Error& error) { return error.what(); }
  return "no error";
}

// Each of `cases`: a text, its ids with special tokens parsed and without.
void compare(const Tokenizer& t, const json& cases) {
  size_t wrong = 0;
  for (const json& entry : cases) {
    const std::string text = entry["text"];
    const Ids special = t.encode(text, true), plain = t.encode(text, false);
    EXPECT_EQ(special, entry["special"].get<Ids>()) << entry["text"];
    EXPECT_EQ(plain, entry["plain"].get<Ids>()) << entry["text"];
    wrong += special != entry["special"].get<Ids>() || plain != entry["plain"].get<Ids>();
    if (wrong == 10) break;
  }
}

class SmallVocabulary : public testing::TestWithParam<const char*> {};

TEST_P(SmallVocabulary, GivesTheIdsOfTheTiktokenLibrary) {
  const std::string name = GetParam();
  const json golden = json::parse(read_text_file(kGoldens / "tiktoken/ids.json"));
  const auto& cases = golden["vocabularies"][name];
  ASSERT_GE(cases.size(), 300u);
  compare(Tokenizer(read_qwen_tiktoken(kGoldens / "tiktoken" / (name + ".tiktoken"))), cases);
}

INSTANTIATE_TEST_SUITE_P(All, SmallVocabulary, testing::Values("trained", "shuffled"),
                         [](const auto& info) { return std::string(info.param); });

// Qwen 1's vocabulary, from Qwen3's tokenizer.json by way of the text of a qwen.tiktoken.
const Tokenizer& qwen1() {
  static const Tokenizer tokenizer = tokenizer_of(qwen1_tiktoken());
  return tokenizer;
}

TEST(RealVocabularyOfQwen1, GivesTheIdsOfTheTiktokenLibraryForEveryGoldenString) {
  const auto strings = golden_strings(kGoldens / "tokenizers");
  const json golden = json::parse(read_text_file(kGoldens / "tiktoken/qwen1.json"));
  ASSERT_EQ(golden["strings"].size(), strings.size());
  ASSERT_GE(strings.size(), 2000u);
  size_t wrong = 0;
  for (size_t i = 0; i < strings.size() && wrong < 10; ++i) {
    const Ids want = golden["strings"][i], got = qwen1().encode(strings[i]);
    wrong += want != got;
    EXPECT_EQ(got, want) << i << ": " << json(repaired_utf8(strings[i])).dump(-1, ' ', true);
  }
  compare(qwen1(), golden["with_specials"]);
}

TEST(RealVocabularyOfQwen1, HasTheIdsOfTheReleasedNotes) {
  const Tokenizer& t = qwen1();
  EXPECT_EQ(t.size(), 151851);
  EXPECT_EQ(t.eos(), 151643);
  EXPECT_EQ(t.bos(), std::nullopt);
  EXPECT_FALSE(t.adds_bos());
  EXPECT_EQ(t.find("<|im_start|>"), 151644);
  EXPECT_EQ(t.find("<|im_end|>"), 151645);
  EXPECT_EQ(t.find("<|extra_0|>"), 151646);
  EXPECT_EQ(t.find("<|extra_204|>"), 151850);
  EXPECT_THAT(t.encode("print(\"<|endoftext|>\")"), ElementsAre(1350, 445, 151643, 899));
  EXPECT_THAT(t.encode("print(\"<|endoftext|>\")", false), ElementsAre(1350, 9639, 91, 8691, 723, 427, 91, 82598));
  EXPECT_EQ(t.decode(Ids{151644, 872, 151645}, true), "user");
}

TEST(Tiktoken, IsReadFromAFolderWithoutTokenizerJson) {
  const TemporaryFolder folder;
  folder.write("qwen.tiktoken", file_with({"ab"}));
  folder.write("tokenizer_config.json", R"({"tokenizer_class": "QWenTokenizer"})");
  EXPECT_THAT(Tokenizer(read_hf_vocabulary(folder.path())).encode("ab<|endoftext|>"), ElementsAre(256, 257));
}

TEST(Tiktoken, JoinsThePairWhoseBytesHaveTheLowestRankWhateverItsHalves) {
  // "aab" has two halvings; a list of merges would have to prefer one of them.
  const Tokenizer t = tokenizer_of(file_with({"aab", "ab", "aa", "abc"}));
  EXPECT_THAT(t.encode("aab"), ElementsAre(256)) << "a token as a whole";
  EXPECT_THAT(t.encode("aabb"), ElementsAre(256, 'b')) << "a + ab, then aab";
  EXPECT_THAT(t.encode("aabc"), ElementsAre(256, 'c')) << "aab comes before abc";
}

TEST(Tiktoken, NamesItsSpecialTokensBehindTheLastRank) {
  const Tokenizer t = tokenizer_of(file_with({"ab"}));
  EXPECT_EQ(t.size(), 257 + 208);
  EXPECT_EQ(t.eos(), 257);
  EXPECT_THAT(t.encode("ab<|im_end|><|extra_204|>"), ElementsAre(256, 259, 257 + 207));
  EXPECT_TRUE(t.is_special(259));
  EXPECT_EQ(t.encode("<|im_end|>", false).size(), 10u);
}

TEST(Tiktoken, LooksForSpecialTokensInTheNormalisedText) {
  const Tokenizer t = tokenizer_of(file_with());
  // ">" and a combining stroke become one character, and the token is none any more.
  EXPECT_EQ(t.encode("<|im_end|>\u0338"), t.encode("<|im_end|\u226F"));
  EXPECT_EQ(t.encode("e\u0301"), t.encode("\u00E9"));
}

TEST(Tiktoken, TakesRanksInAnyOrderAndLinesAsWindowsWritesThem) {
  std::string text = tiktoken_line("ab", 256) + file_with();
  for (size_t at = 0; (at = text.find('\n', at)) != text.npos; at += 2) text.insert(at, "\r");
  EXPECT_THAT(tokenizer_of("\n" + text + "\n\n").encode("ab"), ElementsAre(256));
  text.resize(text.size() - 2);  // no newline at the end
  EXPECT_THAT(tokenizer_of(text).encode("ab"), ElementsAre(256));
}

TEST(Tiktoken, RefusesWhatIsNoVocabularyAndNamesTheLine) {
  EXPECT_EQ(error_of(file_with()), "no error");
  EXPECT_THAT(error_of(""), HasSubstr("no token for the byte 0x00"));
  EXPECT_THAT(error_of(file_with().substr(5)), HasSubstr("line 1"));
  const auto after = [](const std::string& more) { return error_of(file_with() + more); };
  EXPECT_THAT(after("YWI=\n"), HasSubstr("line 257"));
  EXPECT_THAT(after("YWI=\n"), HasSubstr("not a token, a space and a rank"));
  EXPECT_THAT(after(" 256\n"), HasSubstr("is not base64"));
  for (const char* bad : {"YW 256", "YWI 256", "Y=I= 256", "YWJ= 256", "YW-_ 256", "==== 256", "=YWI 256"}) {
    EXPECT_THAT(after(bad), HasSubstr("is not base64")) << bad;
  }
  for (const char* bad : {"YWI= ", "YWI= -1", "YWI= -0", "YWI= +256", "YWI= 256 ", "YWI=  256", "YWI= 2e2",
                          "YWI= 99999999999999999999"}) {
    EXPECT_THAT(after(bad), HasSubstr("is no rank")) << bad;
  }
  EXPECT_THAT(after("YWI= 257"), HasSubstr("rank 257 is out of range"));
  EXPECT_THAT(after("YWI= 255"), HasSubstr("rank 255 is given twice"));
  EXPECT_THAT(after(tiktoken_line("a", 256)), HasSubstr("listed twice"));
  EXPECT_THAT(after(tiktoken_line(std::string(257, 'x'), 256)), HasSubstr("more than 256 bytes"));
  EXPECT_THAT(after(std::string(5000, 'A') + " 256"), HasSubstr("more than 256 bytes"));
  EXPECT_EQ(after(tiktoken_line(std::string(256, 'x'), 256)), "no error");
  EXPECT_THAT(error_of(std::string(3 << 20, '\n') + std::string(1 << 21, 'x')), HasSubstr("line"));
  std::string many;
  for (int i = 0; i < (1 << 20) + 1; ++i) many += "x\n";
  EXPECT_THAT(error_of(many), HasSubstr("more than 1048576 lines"));
  std::string short_of_a_byte = file_with({"ab"});
  short_of_a_byte.replace(short_of_a_byte.find(tiktoken_line("\x41", 0x41)), tiktoken_line("\x41", 0x41).size(),
                          tiktoken_line("xyz", 0x41));
  EXPECT_THAT(error_of(short_of_a_byte), HasSubstr("no token for the byte 0x41"));
}

TEST(Tiktoken, ShowsHostileBytesOnlyQuoted) {
  const std::string error = error_of(file_with() + "\x1B[2J 256\n");
  EXPECT_EQ(error.find('\x1B'), error.npos) << error;
}

}  // namespace
}  // namespace cachalot
