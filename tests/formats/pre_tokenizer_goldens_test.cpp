// Pieces of pre-tokenisers of every supported kind, read from their JSON, against those of Hugging Face's tokenizers
// library (tests/goldens/tokenizers/pieces.json, made by tools/goldens/tokenizer_pieces.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "formats/hf_tokenizer.h"
#include "text/pretokenizer.h"
#include "text/unicode.h"

namespace cachalot {
namespace {

using nlohmann::json;

std::vector<std::string> pieces_of(const PreTokenizer& pre, const std::string& text) {
  std::string storage;
  std::vector<std::string_view> views;
  pre.split(text, storage, views);
  std::vector<std::string> pieces;
  for (const std::string_view view : views) pieces.push_back(letters_of_bytes(view));
  return pieces;
}

// The steps that the GGUF reader takes for the names it knows.
std::vector<PreTokenizerStep> named_steps(const std::string& name) {
  std::vector<PreTokenizerStep> steps;
  const auto add = [&](std::string_view pattern) { steps.emplace_back(SplitStep{.pattern = std::string(pattern)}); };
  if (name == "qwen") add(kQwenPattern);
  if (name == "llama 3") add(kLlama3Pattern);
  if (name == "gpt2") add(kGpt2Pattern);
  if (name == "deepseek v3") std::ranges::for_each(kDeepseekV3Patterns, add);
  if (name == "deepseek llm") {
    std::ranges::for_each(kDeepseekLlmPatterns, add);
    steps.emplace_back(DigitsStep{.individual = true});
  }
  return steps;
}

TEST(PreTokenizer, CutsAsHuggingFacesLibraryDoesInEveryGoldenCase) {
  const json golden = json::parse(
      read_text_file(std::filesystem::path(CACHALOT_SOURCE_DIR) / "tests/goldens/tokenizers/pieces.json"));
  const std::vector<std::string> texts = golden["texts"];
  EXPECT_GE(golden["cases"].size(), 30u);
  for (const json& golden_case : golden["cases"]) {
    const json file = {{"pre_tokenizer", golden_case["pre_tokenizer"]},
                       {"model", {{"type", "BPE"}, {"vocab", {{"a", 0}}}, {"merges", json::array()}}}};
    const PreTokenizer pre(parse_hf_vocabulary(file.dump(), "", "case").steps);
    ASSERT_EQ(golden_case["pieces"].size(), texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(json(pieces_of(pre, texts[i])), golden_case["pieces"][i])
          << golden_case["name"] << " on " << json(texts[i]).dump(-1, ' ', true);
    }
  }
}

TEST(PreTokenizer, CutsByItsBuiltInExpressionsAsByTheOnesThatFilesSpellOut) {
  const json golden = json::parse(
      read_text_file(std::filesystem::path(CACHALOT_SOURCE_DIR) / "tests/goldens/tokenizers/pieces.json"));
  int compared = 0;
  for (const json& golden_case : golden["cases"]) {
    const auto steps = named_steps(golden_case["name"]);
    if (steps.empty()) continue;
    ++compared;
    const PreTokenizer pre(steps);
    for (size_t i = 0; i < golden["texts"].size(); ++i) {
      EXPECT_EQ(json(pieces_of(pre, golden["texts"][i])), golden_case["pieces"][i]) << golden_case["name"];
    }
  }
  EXPECT_EQ(compared, 5);
}

}  // namespace
}  // namespace cachalot
