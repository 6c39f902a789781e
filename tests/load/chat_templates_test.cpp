// Which of a checkpoint's templates renders a conversation, and which tokens it sees, as in transformers
// (tests/goldens/templates/named.json, made by tools/goldens/named_templates.py), from a folder and from the GGUF
// file's metadata; and what a template that cannot be parsed stops.
#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "formats/made_files.h"
#include "load/loaded_model.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

const fs::path kTiny = fs::path(CACHALOT_SOURCE_DIR) / "models/tiny-qwen";

// A folder with tiny-qwen's weights and vocabulary, and the files given.
void make_checkpoint(const fs::path& folder, const Json& files) {
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json"})
    fs::create_symlink(kTiny / name, folder / name);
  for (const auto& [name, text] : files.items()) {
    fs::create_directories((folder / name).parent_path());
    std::ofstream(folder / name) << text.get<std::string>();
  }
}

TEST(ChatTemplates, AreChosenAsInTransformersAndSeeTheSameTokens) {
  const Json golden =
      Json::parse(read_text_file(fs::path(CACHALOT_SOURCE_DIR) / "tests/goldens/templates/named.json"));
  ASSERT_GE(golden["cases"].size(), 14u);
  for (const Json& c : golden["cases"]) {
    SCOPED_TRACE(c["title"].get<std::string>());
    const TemporaryFolder folder;
    make_checkpoint(folder.path(), c["files"]);
    const TextModel model = TextModel::read(Checkpoint::open(folder.path()));
    ASSERT_TRUE(model.chat_template);
    for (const Json& outcome : c["outcomes"]) {
      SCOPED_TRACE(outcome["variables"].dump());
      if (outcome.contains("output")) {
        EXPECT_NO_THROW(
            EXPECT_EQ(model.chat_template->render(outcome["variables"]), outcome["output"].get<std::string>()));
      } else {
        EXPECT_THROW(model.chat_template->render(outcome["variables"]), Error);
      }
    }
  }
}

TEST(ChatTemplates, ThatCannotBeReadStopOnlyWhatNeedsThem) {
  for (const char* config : {R"({"chat_template": "{% if %}"})", R"({"chat_template": 5})",
                             R"({"chat_template": [{"name": "x"}]})", R"({"chat_template": {"default": 1}})"}) {
    SCOPED_TRACE(config);
    const TemporaryFolder folder;
    make_checkpoint(folder.path(), {{"tokenizer_config.json", config}});
    const TextModel model = TextModel::read(Checkpoint::open(folder.path()));
    EXPECT_FALSE(model.tokenizer.encode("Hi").empty());
    ASSERT_TRUE(model.chat_template);
    EXPECT_THROW(model.chat_template->check(), Error);
    EXPECT_THROW(model.chat_template->render({{"messages", Json::array()}}), Error);
  }
}

}  // namespace
}  // namespace cachalot
