// Golden pieces of all kinds of pre-tokenisers: tests/formats/pre_tokenizer_goldens_test.cpp.
#include "text/pretokenizer/pretokenizer.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/random.h"
#include "text/unicode.h"

namespace cachalot {
namespace {

using testing::ElementsAre;
using Pieces = std::vector<std::string>;

std::vector<Match> matches_of(const SplitPattern& pattern, std::string_view text) {
  std::vector<Match> matches;
  PatternBudget budget = budget_for(text.size());
  pattern.find_all(text, budget, matches);
  return matches;
}

Pieces split(const std::vector<PreTokenizerStep>& steps, std::string_view text) {
  std::string storage;
  std::vector<std::string_view> pieces;
  PreTokenizer(steps).split(text, storage, pieces);
  return {pieces.begin(), pieces.end()};
}

Pieces by_patterns(const std::vector<std::string_view>& patterns, std::string_view text) {
  std::vector<PreTokenizerStep> steps;
  for (const auto pattern : patterns) steps.emplace_back(SplitStep{.pattern = std::string(pattern)});
  return split(steps, text);
}

std::string message_of(const std::string& pattern, std::string_view text = "") {
  try {
    matches_of(*compile_split_pattern(pattern), text);
  } catch (const Error& error) { return error.what(); }
  return "no error";
}

TEST(PreTokenizer, CutsDeepSeekV3TextAsItsThreeStepsDo) {
  const auto cut = [](std::string_view text) { return by_patterns(kDeepseekV3Patterns, text); };
  EXPECT_THAT(cut("The price is 12345.67 dollars."),
              ElementsAre("The", " price", " is", " ", "123", "45", ".", "67", " dollars", "."));
  EXPECT_THAT(cut("DON\u2019T"), ElementsAre("DON", "\u2019", "T"));
  EXPECT_THAT(cut("深度求索与通义千问2024年"), ElementsAre("深度求索与通义千问", "202", "4", "年"));
  EXPECT_THAT(cut("\u3000全角\u3000space"), ElementsAre("\u3000", "全角", "\u3000space"));
  EXPECT_THAT(cut("x  123"), ElementsAre("x", "  ", "123")) << "lookahead ends with the piece";
}

TEST(PreTokenizer, PutsASpaceBeforeEachPieceThatHasNone) {
  EXPECT_THAT(split({ByteLevelStep{.add_prefix_space = true, .use_regex = true}}, "hello world"),
              ElementsAre(" hello", " world"));
  EXPECT_THAT(split({ByteLevelStep{.add_prefix_space = true, .use_regex = true}}, " hello"), ElementsAre(" hello"));
  EXPECT_THAT(split({ByteLevelStep{.add_prefix_space = true}}, ""), ElementsAre());
}

// Random text of characters that the expressions tell apart.
std::string random_text(Random& random) {
  static const std::vector<std::string> characters = {
      "a",      "B",      "s",  "t",      "\u017F", "é", "漢", "の", "'",      "\u2019", "!",      "(",
      "$",      "+",      "1",  "½",      "²",      " ", " ",  "\n", "\r",     "\t",     "\u00A0", "\u3000",
      "\u0301", "\u200D", "🙂", "\u0085", "L",      "l", "V",  "e",  "\u0378", "_",      "\u0E33"};
  std::string text;
  const int length = static_cast<int>(random.next() % 24);
  for (int i = 0; i < length; ++i) text += characters[random.next() % characters.size()];
  return text;
}

TEST(KnownPatterns, AgreeWithPcre2OnRandomText) {
  std::vector<std::string_view> all = {kQwenPattern, kLlama3Pattern, kGpt2Pattern};
  all.insert(all.end(), kDeepseekV3Patterns.begin(), kDeepseekV3Patterns.end());
  all.insert(all.end(), kDeepseekLlmPatterns.begin(), kDeepseekLlmPatterns.end());
  Random random(11);
  for (const std::string_view expression : all) {
    const bool by_hand = known_pattern(expression) || class_pattern(expression);
    EXPECT_TRUE(by_hand) << expression;
    const auto pattern = compile_split_pattern(expression), plain = pcre2_pattern(expression);
    for (int i = 0; i < 3000; ++i) {
      const std::string text = random_text(random);
      const auto got = matches_of(*pattern, text), want = matches_of(*plain, text);
      const auto show = [&](const std::vector<Match>& matches) {
        Pieces pieces;
        for (const Match m : matches) pieces.push_back(text.substr(m.begin, m.end - m.begin));
        return pieces;
      };
      ASSERT_EQ(show(got), show(want)) << expression << " on '" << text << "'";
    }
  }
}

TEST(KnownPatterns, AreRecognisedWithControlCharactersInPlaceOfEscapes) {
  std::string spelled(kDeepseekV3Patterns[2]);
  for (size_t at; (at = spelled.find("\\r")) != std::string::npos;) spelled.replace(at, 2, "\r");
  for (size_t at; (at = spelled.find("\\n")) != std::string::npos;) spelled.replace(at, 2, "\n");
  EXPECT_NE(spelled, kDeepseekV3Patterns[2]);
  EXPECT_NE(known_pattern(spelled), nullptr);
  EXPECT_EQ(known_pattern(R"(\p{L}+)"), nullptr);
}

TEST(KnownPatterns, TakeLongRunsInLinearTime) {
  for (const std::string unit : {"a", " ", "\n", "!", "1", "\u3000", " \u00A0", "'", "\u0301", " a", "\t!"}) {
    std::string text;
    while (text.size() < 1'000'000) text += unit;
    for (const std::string& end : {std::string(), std::string("x")}) {
      for (const auto& patterns :
           {std::vector{kQwenPattern}, std::vector{kGpt2Pattern}, kDeepseekV3Patterns, kDeepseekLlmPatterns}) {
        size_t bytes = 0;
        for (const std::string& piece : by_patterns(patterns, text + end)) bytes += piece.size();
        EXPECT_EQ(bytes, text.size() + end.size());
      }
    }
  }
}

TEST(Patterns, RefuseWhatCannotBeUsed) {
  EXPECT_THAT(message_of("("), testing::HasSubstr("missing closing parenthesis"));
  EXPECT_THAT(message_of(R"((a)\1)"), testing::HasSubstr("back-references"));
  EXPECT_THAT(message_of(R"([a-z&&[^b]]+|x)"), testing::HasSubstr("intersection"));
  EXPECT_THAT(message_of(R"([a[bc]]+|x)"), testing::HasSubstr("set inside a set"));
  EXPECT_THAT(message_of(R"(\h+|x)"), testing::HasSubstr("Oniguruma"));
  EXPECT_THAT(message_of(R"([\W]+|x)"), testing::HasSubstr("Oniguruma"));
  EXPECT_THAT(message_of(R"(\C)"), testing::HasSubstr("\\C"));
  EXPECT_THAT(message_of(std::string(20'000, 'a')), testing::HasSubstr("longer"));
  EXPECT_THAT(message_of(std::string(300, '(') + "a" + std::string(300, ')')), testing::HasSubstr("cannot be used"));
  EXPECT_THROW(literal_pattern(""), Error);
}

TEST(Patterns, EndInAnErrorWhenTheyRunAway) {
  const std::string many = std::string(60'000, 'a') + "!bcx";
  for (const std::string pattern : {"(a+)+$|x", "(?:a|aa)+b", "(?:(?=.*x)y|a)+b|c", "(?=.*b)a", "(?:a?){30}a{30}b|z",
                                    "(a|b|ab)*?c", "(?:a*)*b"}) {
    const std::string message = message_of(pattern, many);
    EXPECT_THAT(message, testing::HasSubstr("gave up on this text")) << pattern;
  }
}

TEST(Patterns, FindEmptyMatchesOnceAndGoOn) {
  EXPECT_THAT(by_patterns({R"((?=\p{Lu}))"}, "oneTwoThree"), ElementsAre("one", "Two", "Three"));
  EXPECT_THAT(by_patterns({R"(x*)"}, "axxb"), ElementsAre("a", "xx", "b"));
}

TEST(Patterns, OfOneClassAreScannedByHandAndOthersAreNot) {
  for (const char* expression : {R"(\p{N}{1,3})", R"(\s+$)", "[一-龥]+", R"(\s?[a-z\p{P}]+)", R"([^\r\n\p{L}])",
                                 "[\\u0041-\\x{5A}]", " ?[!-/]+", "\\s"}) {
    EXPECT_NE(class_pattern(expression), nullptr) << expression;
  }
  for (const char* expression :
       {"", "a", "[a", "[]", "[b-a]", "[a-\\p{L}]", "[a&&b]", R"(\p{Lu})", R"(\p{L}{2,3})", R"(\p{N}{1,0})",
        R"(\p{L}*)", "[a]+?", "[a]?$", "[\\d]", "[[:alpha:]]", "[\\x{110000}]", "[\\x{}]", "[\\u12]"}) {
    EXPECT_EQ(class_pattern(expression), nullptr) << expression;
  }
}

}  // namespace
}  // namespace cachalot
