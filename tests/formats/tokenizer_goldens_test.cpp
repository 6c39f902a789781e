// Ids of real vocabularies against those of Hugging Face's tokenizers library (tests/goldens/tokenizers, made by
// tools/goldens/token_ids.py). The vocabularies come from tools/fetch_vocabularies.sh; without them these tests
// fail.
#include <gtest/gtest.h>
#include <time.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "formats/huggingface/tokenizer.h"
#include "formats/real_vocabularies.h"
#include "text/tokenizer/stream_decoder.h"
#include "text/tokenizer/tokenizer.h"
#include "text/unicode.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const Tokenizer& real_tokenizer(const std::string& name) {
  static std::map<std::string, Tokenizer> loaded;
  const auto found = loaded.find(name);
  if (found != loaded.end()) return found->second;
  return loaded.emplace(name, Tokenizer(read_hf_vocabulary(vocabulary_folder(name)))).first->second;
}

std::string shown(const Tokenizer& t, const std::vector<int>& ids) {
  std::string out;
  for (const int id : ids) out += std::to_string(id) + "[" + t.piece(id) + "] ";
  return out;
}

// Compares every string of the set in `folder`, as template text and as user text; returns how many there are.
size_t compare(const fs::path& folder, const std::string& name) {
  const Tokenizer& t = real_tokenizer(name);
  const auto strings = golden_strings(folder);
  const json golden = json::parse(read_text_file(folder / (name + ".json"), size_t{1} << 30));
  EXPECT_EQ(golden.size(), strings.size());
  size_t wrong = 0;
  for (size_t i = 0; i < strings.size() && wrong < 10; ++i) {
    const json& entry = golden.at(i);
    const std::vector<int> special = entry.is_array() ? entry : entry["special"];
    const std::vector<int> plain = entry.is_array() ? entry : entry["plain"];
    const auto got_special = t.encode(strings[i], true), got_plain = t.encode(strings[i], false);
    wrong += got_special != special || got_plain != plain;
    EXPECT_EQ(got_special, special) << i << ": " << json(repaired_utf8(strings[i])).dump(-1, ' ', true) << "\n got  "
                                    << shown(t, got_special) << "\n want " << shown(t, special);
    EXPECT_EQ(got_plain, plain) << i << ", as user text: " << json(repaired_utf8(strings[i])).dump(-1, ' ', true);
  }
  return strings.size();
}

class RealVocabulary : public testing::TestWithParam<const char*> {};

TEST_P(RealVocabulary, GivesTheIdsOfHuggingFacesLibraryForEveryGoldenString) {
  EXPECT_GE(compare(fs::path(CACHALOT_SOURCE_DIR) / "tests/goldens/tokenizers", GetParam()), 2000u);
}

TEST_P(RealVocabulary, GivesTheIdsOfHuggingFacesLibraryForAnExternalSet) {
  const char* folder = std::getenv("CACHALOT_TOKENIZER_CASES");
  if (!folder) GTEST_SKIP() << "set CACHALOT_TOKENIZER_CASES to a folder that tools/goldens/token_ids.py wrote";
  std::printf("compared %zu strings\n", compare(folder, GetParam()));
}

TEST_P(RealVocabulary, DecodesWhatItEncodedAndStreamsTheSame) {
  const Tokenizer& t = real_tokenizer(GetParam());
  const bool composes = std::string(GetParam()) == "qwen3";
  for (const std::string& text : golden_strings(fs::path(CACHALOT_SOURCE_DIR) / "tests/goldens/tokenizers")) {
    const auto ids = t.encode(text);
    const std::string decoded = t.decode(ids);
    // Of a text in normal form C nothing is lost; but it is normalised between added tokens only.
    const std::string valid = repaired_utf8(text);
    if (!composes || nfc(valid) == valid) { EXPECT_EQ(decoded, valid); }
    StreamDecoder stream(t, false);
    std::string streamed;
    for (const int id : ids) {
      const std::string part = stream.push(id);
      EXPECT_TRUE(is_valid_utf8(part));
      streamed += part;
    }
    EXPECT_EQ(streamed + stream.flush(), decoded);
  }
}

double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

TEST_P(RealVocabulary, EncodesTwoMegabytesOfMixedTextAndPrintsItsSpeed) {
  const Tokenizer& t = real_tokenizer(GetParam());
  std::string text;
  while (text.size() < 2'000'000) {
    for (const std::string& s : golden_strings(fs::path(CACHALOT_SOURCE_DIR) / "tests/goldens/tokenizers")) {
      text += repaired_utf8(s) + " The quick brown fox jumps over the lazy dog, said nobody on page 1234.\n";
    }
  }
  double best = 1e9;
  for (int i = 0; i < 3; ++i) {
    const double start = cpu_seconds();
    EXPECT_FALSE(t.encode(text).empty());
    best = std::min(best, cpu_seconds() - start);
  }
  const double megabytes_per_second = static_cast<double>(text.size()) / best / 1e6;
  std::printf("%s: %.1f MB/s\n", GetParam(), megabytes_per_second);
}

INSTANTIATE_TEST_SUITE_P(All, RealVocabulary, testing::Values("deepseek_v3", "qwen3"),
                         [](const auto& info) { return std::string(info.param); });

TEST(RealVocabularyOfQwen3, GivesTheIdsOfTheNotes) {
  const Tokenizer& t = real_tokenizer("qwen3");
  using Ids = std::vector<int>;
  EXPECT_EQ(t.encode("The price is 12345.67 dollars."),
            (Ids{785, 3349, 374, 220, 16, 17, 18, 19, 20, 13, 21, 22, 11192, 13}));
  EXPECT_EQ(t.encode("  two leading spaces"), (Ids{220, 1378, 6388, 12621}));
  EXPECT_EQ(t.encode("line one\r\n\r\nline two\n"), (Ids{1056, 825, 871, 1056, 1378, 198}));
  EXPECT_EQ(t.encode("don't DON'T we'll"), (Ids{15007, 944, 44273, 17323, 582, 3278}));
  EXPECT_EQ(t.encode("DON\u2019T"), (Ids{84641, 85501}));
  EXPECT_EQ(t.encode("深度求索与通义千问2024年"),
            (Ids{102217, 30918, 50984, 57218, 31935, 64559, 99320, 56007, 17, 15, 17, 19, 7948}));
  EXPECT_EQ(t.encode("def f(x):\n\treturn x**2 # note"), (Ids{750, 282, 2075, 982, 853, 856, 334, 17, 671, 5185}));
  EXPECT_EQ(t.encode("Ünïcödé naïve café"), (Ids{52491, 77, 37572, 66, 2956, 128505, 94880, 586, 51950}));
  EXPECT_EQ(t.encode("🙂👍🏽 ok"), (Ids{145080, 144349, 145375, 5394}));
  EXPECT_EQ(t.encode("\t\t\n   \n end"), (Ids{2394, 5872, 835}));
  EXPECT_EQ(t.encode("a\u0301 combining"), (Ids{1953, 34171}));
  EXPECT_EQ(t.encode("1²⁵"), (Ids{16, 29456, 52133, 113}));
  EXPECT_EQ(t.encode("hello   world"), (Ids{14990, 256, 1879}));
  EXPECT_EQ(t.encode("<think>", false), (Ids{13708, 766, 29}));
  EXPECT_EQ(t.encode("<think>", true), (Ids{151667}));
}

TEST(RealVocabularyOfQwen3, KnowsItsSpecialTokensAndAddsNone) {
  const Tokenizer& t = real_tokenizer("qwen3");
  EXPECT_EQ(t.eos(), 151645);
  EXPECT_EQ(t.bos(), std::nullopt);
  EXPECT_EQ(t.encode_with_bos(""), std::vector<int>{});
  EXPECT_EQ(t.size(), 151669);
  EXPECT_TRUE(t.is_special(151645));
  EXPECT_FALSE(t.is_special(151667)) << "<think> is an added token that stays in the text";
  EXPECT_EQ(t.find("<|im_end|>"), 151645);
  EXPECT_EQ(t.find("hello"), 14990);
  EXPECT_EQ(t.decode(std::vector{151644, 14990, 151667, 151645}, true), "hello<think>");
  EXPECT_EQ(t.decode(std::vector{14990, 151935, -1, 1 << 30}), "hello") << "padding rows have no text";
  EXPECT_EQ(t.piece(29456), "²");
  EXPECT_EQ(t.piece(113), "<0xB5>");
}

TEST(RealVocabularyOfDeepSeekV3, AddsItsBosAndKeepsUserTextApart) {
  const Tokenizer& t = real_tokenizer("deepseek_v3");
  EXPECT_EQ(t.bos(), 0);
  EXPECT_EQ(t.eos(), 1);
  EXPECT_EQ(t.encode_with_bos(""), std::vector<int>{0});
  EXPECT_EQ(t.encode("<｜User｜>"), std::vector<int>{128803});
  const auto as_user_text = t.encode("<｜User｜>", false);
  EXPECT_EQ(t.decode(as_user_text), "<｜User｜>");
  for (const int id : as_user_text) EXPECT_LT(id, 128000);
}

TEST(RealVocabularyOfQwen3, EncodesAMegabyteOfOneLetterInTime) {
  const Tokenizer& t = real_tokenizer("qwen3");
  const double start = cpu_seconds();
  EXPECT_EQ(t.encode(std::string(1'000'000, 'a')).size(), 125000u);
  EXPECT_LT(cpu_seconds() - start, 60) << "quadratic: it would take hours";
}

}  // namespace
}  // namespace cachalot
