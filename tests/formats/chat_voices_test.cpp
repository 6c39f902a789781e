// Prompts in which users, tools and models say what templates write, with the published vocabularies: the text is
// jinja2's, the ids are those of Hugging Face's library where only the template's words may be added tokens
// (tests/goldens/templates/voices.json, made by tools/goldens/template_voices.py).
#include <gmock/gmock.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/huggingface/tokenizer.h"
#include "formats/real_vocabularies.h"
#include "text/chat/chat_prompt.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

const fs::path kGoldens = fs::path(CACHALOT_SOURCE_DIR) / "tests/goldens/templates";

const Tokenizer& tokenizer_of(const std::string& name) {
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

TEST(ChatVoices, AreToldApartAndEveryTextReadsAsInPython) {
  const Json golden = Json::parse(read_text_file(kGoldens / "voices.json"));
  int with_ids = 0;
  for (const Json& c : golden["cases"]) {
    const std::string source = c.contains("file") ? read_text_file(kGoldens / c["file"].get<std::string>())
                                                  : c["template"].get<std::string>();
    SCOPED_TRACE(c.contains("file") ? c["file"].get<std::string>() + ", " + c["conversation"].get<std::string>()
                                    : source);
    const ChatTemplate chat(source, golden["bos_token"], golden["eos_token"]);
    const Json& variables = c.contains("file")        ? golden["conversations"][c["conversation"].get<std::string>()]
                            : c.contains("variables") ? c["variables"]
                                                      : golden["variables"];
    const Tokenizer& tokenizer = tokenizer_of(c["vocabulary"]);
    if (c.contains("error")) {
      EXPECT_THROW(encode_chat(tokenizer, chat, variables), Error);
      continue;
    }
    const ChatPrompt prompt = encode_chat(tokenizer, chat, variables);
    EXPECT_EQ(prompt.rendered.text, c["output"].get<std::string>());
    if (!c.contains("ids")) continue;
    ++with_ids;
    const auto want = c["ids"].get<std::vector<int>>();
    EXPECT_EQ(prompt.tokens, want) << "\n got  " << shown(tokenizer, prompt.tokens) << "\n want "
                                   << shown(tokenizer, want);
  }
  EXPECT_GE(with_ids, 130);
}

}  // namespace
}  // namespace cachalot
