// Files, texts and numbers that cannot work: a message that says why, status 1, nothing on stdout.
#include "cli/program.h"

namespace cachalot {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class BadInput : public ProgramTest {
 protected:
  // Runs and expects a refusal that holds `reason`.
  void refuses(const std::vector<std::string>& arguments, const std::string& reason, std::string_view input = "") {
    SCOPED_TRACE(testing::PrintToString(arguments));
    const Outcome o = run(arguments, input);
    EXPECT_EQ(o.status, 1);
    EXPECT_THAT(o.out, IsEmpty());
    EXPECT_THAT(o.err, StartsWith("cachalot: "));
    EXPECT_THAT(o.err, HasSubstr(reason));
  }
};

TEST_F(BadInput, AModelThatIsNotThere) {
  refuses({"run", "no-such-model", "x"}, "there is no model 'no-such-model'");
  refuses({"run", "", "x"}, "there is no model ''");
  refuses({"inspect", "/proc/self/mem"}, "");
  refuses({"run", folder_, "x"}, "safetensors");
}

TEST_F(BadInput, CheckpointsThatAreBroken) {
  fs::copy(golden("qwen3/plain"), folder_ / "cut", fs::copy_options::recursive);
  const auto weights = folder_ / "cut" / "model.safetensors";
  fs::resize_file(weights, fs::file_size(weights) / 2);
  for (const std::string command : {"logits", "inspect"}) {
    std::vector<std::string> arguments = {command, path("cut")};
    if (command == "logits") arguments.insert(arguments.end(), {"--tokens", "1", "--out", path("out")});
    refuses(arguments, "model.safetensors");
  }
  write_file(path("noise.gguf"), "GGUF\x03\0\0\0 this is no model at all, only some text");
  refuses({"inspect", path("noise.gguf")}, "noise.gguf");
  refuses({"run", path("noise.gguf"), "x"}, "noise.gguf");
}

TEST_F(BadInput, IntegersWhereNumbersAreDueAreRefusedByTensorAndType) {
  using Json = nlohmann::ordered_json;
  fs::copy(golden("qwen3/plain"), folder_ / "model", fs::copy_options::recursive);
  const std::string whole = read_file(folder_ / "model/model.safetensors");
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, whole.data(), 8);
  const Json header = Json::parse(whole.substr(8, header_bytes));
  const std::string matrix = "model.layers.1.self_attn.k_proj.weight",
                    vector = "model.layers.0.input_layernorm.weight";
  for (const std::string& tensor : {matrix, vector, std::string("model.embed_tokens.weight")}) {
    const int64_t size = header.at(tensor).at("dtype") == "F32" ? 4 : 2;
    for (const auto& [dtype, bytes, name] : {std::tuple{"I8", 1, "i8"},
                                             {"I16", 2, "i16"},
                                             {"I32", 4, "i32"},
                                             {"I64", 8, "i64"},
                                             {"U8", 1, "u8"},
                                             {"BOOL", 1, "bool"},
                                             {"U16", 2, "U16"},
                                             {"U32", 4, "U32"},
                                             {"F8_E8M0", 1, "F8_E8M0"}}) {
      SCOPED_TRACE(tensor + " " + dtype);
      Json changed = header;
      auto& entry = changed[tensor];
      entry["dtype"] = dtype;
      entry["shape"].back() = entry["shape"].back().get<int64_t>() * size / bytes;  // of as many bytes
      const std::string text = changed.dump();
      std::string length(8, '\0');
      const uint64_t text_bytes = text.size();
      std::memcpy(length.data(), &text_bytes, 8);
      write_file(folder_ / "model/model.safetensors", length + text + whole.substr(8 + header_bytes));
      const std::string reason = "tensor '" + tensor + "' is stored as " + name;
      refuses({"logits", path("model"), "--tokens", "1", "--out", path("out")}, reason);
      refuses({"quantize", path("model"), path("a.gguf"), "--type", "q8_0"}, reason);
      const auto report = run({"inspect", path("model"), "--json"}).json();
      EXPECT_EQ(report["runs"], false);
      EXPECT_THAT(report["reasons"].dump(), HasSubstr(reason));
      // Compared as what they are: no numbers.
      const Outcome diff = run(
          {"trace", "--diff", golden("qwen3/plain/model.safetensors"), path("model/model.safetensors"), "--json"});
      EXPECT_EQ(diff.status, 1);
      EXPECT_EQ(diff.json()["first_difference"], size == 4 ? Json(tensor) : Json());
    }
  }
  EXPECT_FALSE(fs::exists(path("out")));
}

TEST_F(BadInput, LogitsThatAreNoNumbersAreWarnedOf) {
  fs::copy(golden("qwen3/plain"), folder_ / "model", fs::copy_options::recursive);
  std::string weights = read_file(folder_ / "model/model.safetensors");
  const std::vector<std::string> words = {"logits", path("model"), "--tokens", "1,2", "--out", path("out")};
  EXPECT_THAT(run(words).err, Not(HasSubstr("warning")));
  weights.replace(weights.size() - 4, 4, "\xff\xff\xff\xff");  // a NaN in the last matrix
  write_file(folder_ / "model/model.safetensors", weights);
  const Outcome o = run(words);
  EXPECT_EQ(o.status, 0) << "the file has them for whoever looks for where they come from";
  EXPECT_THAT(o.err, HasSubstr("warning: 2 of 2 rows hold NaN or infinities"));
}

// What the model has no use for may be of any type, also one that nothing here reads.
TEST_F(BadInput, TensorsThatAreNotNeededHarmNobodyWhateverTheirType) {
  fs::copy(golden("qwen3/plain"), folder_ / "model", fs::copy_options::recursive);
  const auto logits_of = [&](const std::string& model) {
    const Outcome o = run({"logits", model, "--tokens", "1,2,3", "--weights", "f32", "--out", path("out")});
    EXPECT_EQ(o.status, 0) << o.err;
    return read_file(path("out"));
  };
  const std::string expected = logits_of(path("model"));
  const std::string whole = read_file(folder_ / "model/model.safetensors");
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, whole.data(), 8);
  const size_t data_bytes = whole.size() - 8 - header_bytes;
  for (const std::string type : {"I64", "F64", "U16", "U32", "U64", "F8_E8M0", "F4", "C64"}) {
    SCOPED_TRACE(type);
    auto header = nlohmann::ordered_json::parse(whole.substr(8, header_bytes));
    header["model.layers.0.self_attn.rotary_emb.inv_freq"] = {
        {"dtype", type}, {"shape", {2}}, {"data_offsets", {data_bytes, data_bytes + 16}}};
    if (type == "F8_E8M0" || type == "U16" || type == "U32")
      header["model.layers.0.self_attn.rotary_emb.inv_freq"]["shape"] = {type == "U16" ? 8 : type == "U32" ? 4 : 16};
    const std::string text = header.dump();
    std::string length(8, '\0');
    const uint64_t text_bytes = text.size();
    std::memcpy(length.data(), &text_bytes, 8);
    write_file(folder_ / "model/model.safetensors",
               length + text + whole.substr(8 + header_bytes) + std::string(16, 'x'));
    EXPECT_EQ(logits_of(path("model")), expected);
    EXPECT_EQ(run({"inspect", path("model"), "--json"}).json()["runs"], true);
    EXPECT_EQ(run({"quantize", path("model"), path("a.gguf"), "--type", "q8_0", "--force"}).status, 0);
  }
}

TEST_F(BadInput, ACheckpointWithoutATokenizerCannotBeTalkedTo) {
  refuses({"run", golden("qwen3/plain"), "x"}, "tokenizer.json");
  refuses({"tokenize", golden("qwen3/plain")}, "tokenizer.json", "x");
}

TEST_F(BadInput, APromptThatTheContextDoesNotHold) {
  std::string words;
  for (int i = 0; i < 3000; ++i) words += "word ";
  refuses({"run", kShipped, "-"}, "context", words);
  refuses({"run", kShipped, "What is 47 + 86?", "--context", "4"}, "context");
  refuses({"logits", kShipped, "--tokens", "1,2,3,4,5", "--context", "4", "--out", path("out")}, "context");
  EXPECT_FALSE(fs::exists(path("out")));
}

TEST_F(BadInput, AnEmptyPromptHasNothingToComplete) {
  refuses({"run", kShipped, "", "--raw"}, "the prompt is empty");
}

TEST_F(BadInput, AContextThatMemoryDoesNotHoldIsRefusedWithTheNumbers) {
  refuses({"run", kShipped, "x", "--context", "1000000000"}, "is available");
}

TEST_F(BadInput, TokenIdsThatAreNone) {
  const auto logits = [&](const std::string& tokens) {
    return std::vector<std::string>{"logits", kShipped, "--tokens=" + tokens, "--out", path("out")};
  };
  refuses(logits("1,x,3"), "'x' is no token id");
  refuses(logits(" , "), "no token ids");
  refuses(logits("-1"), "'-1' is no token id");
  refuses(logits("99999999999"), "is no token id");
  refuses(logits("1,1000000"), "vocabulary");
  refuses({"detokenize", kShipped, "1;2"}, "'1;2' is no token id");
  write_file(path("ids"), "1 2\n3,\tfour");
  refuses({"logits", kShipped, "--tokens-file", path("ids"), "--out", path("out")}, "'four' is no token id");
  refuses({"logits", kShipped, "--tokens-file", path("missing"), "--out", path("out")}, "missing");
  EXPECT_FALSE(fs::exists(path("out")));
}

TEST_F(BadInput, ResultsThatCannotBeWritten) {
  refuses({"logits", kShipped, "--tokens", "1", "--out", folder_}, "Is a directory");
  refuses({"logits", kShipped, "--tokens", "1", "--out", path("no/such/folder")}, "No such file or directory");
}

TEST_F(BadInput, ConversationsThatATemplateCannotRender) {
  const auto render = [&](const std::string& json, const std::string& reason) {
    write_file(path("chat.json"), json);
    refuses({"template", kShipped, path("chat.json")}, reason);
  };
  render("{", "not valid JSON");
  render("[]", "'messages'");
  render("{}", "'messages'");
  render(std::string(100000, '['), "deep");
  refuses({"template", kShipped, path("missing.json")}, "missing.json");
}

TEST_F(BadInput, TracesThatCannotBeCompared) {
  write_file(path("noise"), "no safetensors");
  refuses({"trace", "--diff", path("noise"), path("noise")}, "noise");
  refuses({"trace", "--diff", golden("qwen3/plain/golden.safetensors"), golden("qwen3/plain/trace.safetensors")},
          "share no point");
}

TEST_F(BadInput, ATextWithNothingToPredict) {
  write_file(path("empty"), "");
  refuses({"perplexity", kShipped, path("empty")}, "nothing to predict");
}

TEST_F(BadInput, NamesFromFilesDoNotReachTheTerminalAsTheyAre) {
  const Outcome o = run({"run", "\033[31mred", "x"});
  EXPECT_EQ(o.status, 1);
  EXPECT_EQ(o.err.find('\033'), std::string::npos);
}

}  // namespace
}  // namespace cachalot
