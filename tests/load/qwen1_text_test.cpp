// The text side of a Qwen 1 checkpoint as a whole: vocabulary, template and ends of a chat and of a base model.
#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>

#include "formats/tiktoken_files.h"
#include "load/loaded_model.h"
#include "support/goldens.h"
#include "text/chat/chat_prompt.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;
using ::testing::UnorderedElementsAre;
constexpr const char* kChat = R"({"chat_format": "chatml", "max_window_size": 6144})";

// A stored model with the small vocabulary of 760 tokens beside it, of which the special ones are the last 208.
class Qwen1Text : public ::testing::Test {
 protected:
  Qwen1Text() {
    std::string name = (fs::temp_directory_path() / "cachalot-test-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
    folder_ = name;
    for (const char* file : {"config.json", "model.safetensors"})
      fs::copy_file(testing_root() / "qwen/plain" / file, folder_ / file);
    fs::copy_file(testing_root() / "tiktoken/trained.tiktoken", folder_ / "qwen.tiktoken");
  }
  ~Qwen1Text() override {
    std::error_code code;
    fs::remove_all(folder_, code);
  }
  static fs::path testing_root() { return cachalot::testing::golden_root(); }
  void write(const char* file, const std::string& text) const { std::ofstream(folder_ / file) << text; }
  void generation_config(const char* text) const { write("generation_config.json", text); }

  fs::path folder_;
};

TEST_F(Qwen1Text, ChatModelsWriteChatMlAndEndAtEveryMarkOfATurn) {
  generation_config(R"({"chat_format": "chatml", "eos_token_id": 700, "pad_token_id": 700, "max_window_size": 6144,
                        "max_new_tokens": 512, "do_sample": true, "top_k": 0, "top_p": 0.8})");
  const Checkpoint checkpoint = Checkpoint::open(folder_);
  const TextModel text = TextModel::read(checkpoint);
  ASSERT_TRUE(text.chat_template);
  EXPECT_EQ(text.chat_template->render({{"messages", {{{"role", "user"}, {"content", "Hi"}}}}}),
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\n");
  const auto defaults = GenerationDefaults::read(checkpoint, text.tokenizer);
  EXPECT_THAT(defaults.end_tokens, UnorderedElementsAre(700, 701, 702));
  EXPECT_EQ(defaults.max_tokens, 512);
  EXPECT_EQ(defaults.sampling.temperature, 1);
  EXPECT_FLOAT_EQ(static_cast<float>(defaults.sampling.top_p), 0.8f);
}

TEST_F(Qwen1Text, BaseModelsHaveNoTemplateAndEndAtTheEndOfText) {
  generation_config(R"({"chat_format": "raw", "eos_token_id": 700, "stop_words_ids": [[700]], "do_sample": true})");
  const Checkpoint checkpoint = Checkpoint::open(folder_);
  const TextModel text = TextModel::read(checkpoint);
  EXPECT_FALSE(text.chat_template);
  EXPECT_THAT(GenerationDefaults::read(checkpoint, text.tokenizer).end_tokens, UnorderedElementsAre(700));
}

TEST_F(Qwen1Text, ATemplateOfTheCheckpointsOwnCounts) {
  generation_config(kChat);
  write("tokenizer_config.json", R"({"chat_template": "own"})");
  EXPECT_EQ(TextModel::read(Checkpoint::open(folder_))
                .chat_template->render({{"messages", {{{"role", "user"}, {"content", "Hi"}}}}}),
            "own");
}

TEST_F(Qwen1Text, TheFormatIsOfThisFamilyAlone) {
  generation_config(kChat);
  fs::remove(folder_ / "config.json");
  fs::copy_file(testing_root() / "qwen2/plain/config.json", folder_ / "config.json");
  const Checkpoint checkpoint = Checkpoint::open(folder_);
  const TextModel text = TextModel::read(checkpoint);
  EXPECT_FALSE(text.chat_template);
  EXPECT_THAT(GenerationDefaults::read(checkpoint, text.tokenizer).end_tokens,
              ::testing::Not(::testing::Contains(701)));
}

TEST_F(Qwen1Text, WritesChatsAsTheReleasedCodeDoes) {
  generation_config(kChat);
  write("qwen.tiktoken", qwen1_tiktoken());
  const TextModel model = TextModel::read(Checkpoint::open(folder_));
  const auto golden = nlohmann::ordered_json::parse(read_text_file(testing_root() / "tiktoken/chats.json"));
  ASSERT_GE(golden["chats"].size(), 7u);
  for (const auto& chat : golden["chats"]) {
    const ChatPrompt prompt = encode_chat(model.tokenizer, *model.chat_template, {{"messages", chat["messages"]}});
    EXPECT_EQ(prompt.rendered.text, chat["text"].get<std::string>());
    EXPECT_EQ(prompt.tokens, chat["tokens"].get<std::vector<int32_t>>()) << chat["text"];
  }
}

}  // namespace
}  // namespace cachalot
