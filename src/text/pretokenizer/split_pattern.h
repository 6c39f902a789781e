// The expression of a Split step, compiled. Three kinds behind one face: hand-written scanners for the expressions of
// the supported families, a scanner for one character class with a quantifier, and PCRE2 for everything else.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace cachalot {

// The expressions of the released tokenizers, as their tokenizer.json spells them. Source: tokenizer.json of Qwen3,
// Llama-3, DeepSeek-V3 and DeepSeek-LLM; GPT-2's encoder.
extern const std::string_view kQwenPattern;                       // Qwen 1 to 3, R1-Distill-Qwen
extern const std::string_view kLlama3Pattern;                     // the same with up to three digits together
extern const std::string_view kGpt2Pattern;                       // ByteLevel with use_regex
extern const std::vector<std::string_view> kDeepseekV3Patterns;   // applied one after the other, isolated
extern const std::vector<std::string_view> kDeepseekLlmPatterns;  // likewise, followed by single digits

struct Match {
  size_t begin, end;  // bytes
};

// What one text may cost, so that an expression from a hostile file ends in an Error and not in a hang. Only PCRE2
// draws on it: one step per item tried and per byte passed.
struct PatternBudget {
  int64_t steps;
};
PatternBudget budget_for(size_t text_bytes);

class SplitPattern {
 public:
  virtual ~SplitPattern() = default;
  // Appends the matches in `piece` (valid UTF-8), leftmost first, none overlapping, empty ones included as
  // Oniguruma's iteration would give them. Anchors and lookarounds see the piece and nothing around it. Thread-safe.
  // Throws Error when the budget is used up.
  virtual void find_all(std::string_view piece, PatternBudget& budget, std::vector<Match>& matches) const = 0;
};

// Throws Error on an expression that does not compile, or that Oniguruma (which Hugging Face uses) reads otherwise
// than PCRE2 does.
std::unique_ptr<SplitPattern> compile_split_pattern(std::string_view expression);
// Finds a plain, non-empty string.
std::unique_ptr<SplitPattern> literal_pattern(std::string_view text);

// The parts of compile_split_pattern; nullptr when the expression is not of the kind. known_patterns.cpp,
// class_pattern.cpp and pcre2_pattern.cpp, which takes any.
std::unique_ptr<SplitPattern> known_pattern(std::string_view expression);
std::unique_ptr<SplitPattern> class_pattern(std::string_view expression);
std::unique_ptr<SplitPattern> pcre2_pattern(std::string_view expression);

}  // namespace cachalot
