// Pieces of pre-tokenisers of every supported kind, read from their JSON or known by their name in GGUF files,
// against those of Hugging Face's tokenizers library (tests/goldens/tokenizers/*pieces.json, made by
// tools/goldens/tokenizer_pieces.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "formats/gguf/pre_tokenizers.h"
#include "formats/huggingface/tokenizer.h"
#include "text/pretokenizer/pretokenizer.h"
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

TEST(PreTokenizer, CutsByEveryNameThatGgufFilesHaveAsTheTokenizerJsonOfSuchModels) {
  const json golden = json::parse(
      read_text_file(std::filesystem::path(CACHALOT_SOURCE_DIR) / "tests/goldens/tokenizers/gguf_pieces.json"));
  const std::vector<std::string> texts = golden["texts"];
  std::string unseen = known_pre_tokenizers() + ", ";
  for (const json& golden_case : golden["cases"]) {
    for (const std::string name : golden_case["names"]) {
      Vocabulary v;
      ASSERT_TRUE(set_pre_tokenizer(name, v)) << name;
      unseen.erase(unseen.find(name + ", "), name.size() + 2);
      const PreTokenizer pre(v.steps);
      for (size_t i = 0; i < texts.size(); ++i)
        EXPECT_EQ(json(pieces_of(pre, texts[i])), golden_case["pieces"][i])
            << name << " on " << json(texts[i]).dump(-1, ' ', true);
    }
  }
  EXPECT_EQ(unseen, "") << "names without a golden";
}

}  // namespace
}  // namespace cachalot
