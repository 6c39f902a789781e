#include "formats/gguf/pre_tokenizers.h"

#include <fmt/ranges.h>

#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "text/pretokenizer/split_pattern.h"

namespace cachalot {
namespace {

using Steps = std::vector<PreTokenizerStep>;

SplitStep isolated(std::string_view pattern) { return {.pattern = std::string(pattern)}; }

Steps qwen() { return {isolated(kQwenPattern)}; }
Steps llama3() { return {isolated(kLlama3Pattern)}; }
Steps gpt2() { return {ByteLevelStep{.use_regex = true}}; }
Steps single_digits_gpt2() { return {DigitsStep{.individual = true}, ByteLevelStep{.use_regex = true}}; }

Steps all_isolated(const std::vector<std::string_view>& patterns) {
  Steps steps;
  for (const auto pattern : patterns) steps.emplace_back(isolated(pattern));
  return steps;
}

Steps deepseek_v3() { return all_isolated(kDeepseekV3Patterns); }
Steps deepseek_llm() {
  Steps steps = all_isolated(kDeepseekLlmPatterns);
  steps.emplace_back(DigitsStep{.individual = true});
  return steps;
}
Steps deepseek_coder() {
  return {isolated("[\r\n]"), isolated(R"(\s?\p{L}+)"), isolated(R"(\s?\p{P}+)"),
          isolated("[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+"), DigitsStep{.individual = true}};
}

// Qwen3.5's: marks belong to words.
Steps qwen35() {
  return {
      isolated(R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)"
               R"(\s*[\r\n]+|\s+(?!\S)|\s+)")};
}
// Qwen's without the English contractions.
Steps ufakzeka() {
  return {isolated(R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)")};
}
// Qwen's, with line ends that do not cling to punctuation.
Steps seed_coder() {
  return {isolated(R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|)"
                   R"(\s*[\r\n]+|\s+(?!\S)|\s+)")};
}
// Llama 3's, but digits go apart before anything looks at the spaces in front of them.
Steps minicpm5() { return {isolated(R"(\p{N}{1,3})"), isolated(kLlama3Pattern)}; }

// Words that begin anew where capitals follow small letters: the part of Mistral's, GPT-4o's and Youtu's expressions
// before the numbers. `ending` is what may cling to a word.
std::string cased_words(std::string_view ending) {
  constexpr std::string_view lead = R"([^\r\n\p{L}\p{N}]?)", large = R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])",
                             small = R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])";
  return fmt::format("{0}{1}*{2}+{3}|{0}{1}+{2}*{3}|", lead, large, small, ending);
}
constexpr std::string_view kContraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";
constexpr std::string_view kSignsAndSpaces = R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

Steps tekken() { return {isolated(cased_words("") + R"(\p{N})" + std::string(kSignsAndSpaces))}; }
Steps gpt4o() { return {isolated(cased_words(kContraction) + R"(\p{N}{1,3})" + std::string(kSignsAndSpaces))}; }
Steps youtu() {
  return {isolated("[\uAC00-\uD7A3\u3131-\u318E]+|[\uFF01\u2026\u201C\u201D\u2018\u2019\u2014\uFF1A\uFF1B\uFF0C"
                   "\u3001-\u303F\uFE30-\uFE4F]+|[\u3105-\u312F]+|[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+"),
          isolated(cased_words(kContraction) + R"(\p{N})" + std::string(kSignsAndSpaces))};
}
// Kimi K2's own form intersects its sets of letters with "not Han"; a lookahead before each says the same.
Steps kimi_k2() {
  constexpr std::string_view lead = R"([^\r\n\p{L}\p{N}]?)",
                             large = R"((?:(?!\p{Han})[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]))",
                             small = R"((?:(?!\p{Han})[\p{Ll}\p{Lm}\p{Lo}\p{M}]))";
  return {isolated(fmt::format(R"([\p{{Han}}]+|{0}{1}*{2}+{3}|{0}{1}+{2}*{3}|)", lead, large, small, kContraction) +
                   R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)")};
}
// BLOOM's, and single digits.
Steps viking() {
  return {isolated(" ?[^(\\s|.,!?\u2026\u3002\uFF0C\u3001\u0964\u06D4\u060C)]+"), DigitsStep{.individual = true}};
}

enum Property : unsigned {
  kNone = 0,
  kNfc = 1,  // GGUF has no word for it: the tokenizer.json of the models says so
  kIgnoreMerges = 2,
  kAddBos = 4,
  kWritten = 8,  // files are written with this name; of several with the same meaning one
};

struct Named {
  std::string_view name;
  Steps (*steps)();
  unsigned properties;
};

// What models of the architectures that run here are published with. The names are those of llama.cpp; other names
// that it knows belong to architectures of their own.
constexpr Named kNamed[] = {
    {"qwen2", qwen, kNfc | kWritten},
    {"deepseek-r1-qwen", qwen, kNfc},
    {"kormo", qwen, kNone},
    {"f2llmv2", qwen, kNfc},  // Qwen3's vocabulary
    {"megrez", qwen, kNone},
    {"qwen35", qwen35, kNfc | kWritten},
    {"ufakzeka", ufakzeka, kWritten},
    {"seed-coder", seed_coder, kWritten},
    {"llama-bpe", llama3, kIgnoreMerges | kAddBos | kWritten},
    {"llama3", llama3, kIgnoreMerges | kAddBos},
    {"llama-v3", llama3, kIgnoreMerges | kAddBos},
    {"falcon3", llama3, kIgnoreMerges | kAddBos},
    {"pixtral", llama3, kIgnoreMerges | kAddBos},
    {"midm-2.0", llama3, kIgnoreMerges | kAddBos},
    {"glm4", llama3, kIgnoreMerges},
    {"smaug-bpe", llama3, kWritten},
    {"minicpm5", minicpm5, kIgnoreMerges | kWritten},
    {"tekken", tekken, kIgnoreMerges | kAddBos | kWritten},
    {"gpt-4o", gpt4o, kWritten},
    {"kanana2", gpt4o, kNone},
    {"kimi-k2", kimi_k2, kWritten},
    {"youtu", youtu, kIgnoreMerges | kWritten},
    {"deepseek-v3", deepseek_v3, kWritten},
    {"joyai-llm", deepseek_v3, kNone},
    {"deepseek-llm", deepseek_llm, kWritten},
    {"deepseek-coder", deepseek_coder, kWritten},
    {"smollm", single_digits_gpt2, kWritten},
    {"starcoder", single_digits_gpt2, kNone},
    {"refact", single_digits_gpt2, kNone},
    {"codeshell", single_digits_gpt2, kNone},
    {"exaone", single_digits_gpt2, kNone},
    {"minerva-7b", single_digits_gpt2, kNone},
    {"command-r", single_digits_gpt2, kNfc},
    {"viking", viking, kWritten},
    {"gpt-2", gpt2, kWritten},
    {"a.x-4.0", gpt2, kNone},
    {"mellum", gpt2, kNone},
    {"gigachat", gpt2, kNone},
    {"trillion", gpt2, kNone},
    {"granite-docling", gpt2, kNone},
};

Vocabulary meant_by(const Named& named) {
  Vocabulary v;
  set_pre_tokenizer(named.name, v);
  return v;
}

// A closing ByteLevel step that splits nothing is what every byte-level vocabulary has, named or not.
Steps telling_steps(Steps steps) {
  if (steps.empty()) return steps;
  const auto* last = std::get_if<ByteLevelStep>(&steps.back());
  if (last && !last->use_regex && !last->add_prefix_space) steps.pop_back();
  return steps;
}

std::vector<std::string_view> names_with(unsigned properties) {
  std::vector<std::string_view> names;
  for (const Named& named : kNamed)
    if ((named.properties & properties) == properties) names.push_back(named.name);
  return names;
}

}  // namespace

bool set_pre_tokenizer(std::string_view name, Vocabulary& v) {
  for (const Named& named : kNamed) {
    if (named.name != name) continue;
    v.steps = named.steps();
    v.nfc = named.properties & kNfc;
    v.ignore_merges = named.properties & kIgnoreMerges;
    v.add_bos = named.properties & kAddBos;
    return true;
  }
  return false;
}

std::string known_pre_tokenizers() { return fmt::format("{}", fmt::join(names_with(kNone), ", ")); }

std::string_view name_of_pre_tokenizer(const Vocabulary& v) {
  for (const bool nfc_counts : {true, false}) {
    for (const Named& named : kNamed) {
      if (!(named.properties & kWritten)) continue;
      const Vocabulary known = meant_by(named);
      if (telling_steps(known.steps) != telling_steps(v.steps) || known.ignore_merges != v.ignore_merges) continue;
      if (known.nfc == v.nfc) return named.name;
      if (nfc_counts) continue;
      warn("{}: GGUF's '{}' {} normal form C, this tokenizer {}; texts that are not in it may get other ids", v.where,
           named.name, known.nfc ? "implies" : "does not know", v.nfc ? "asks for it" : "does not");
      return named.name;
    }
  }
  throw Error("the tokenizer cannot be written as GGUF")
      .in(v.where)
      .because(fmt::format("GGUF names its pre-tokenisers, and this one is none of {}",
                           fmt::join(names_with(kWritten), ", ")));
}

}  // namespace cachalot
