// The commands that others script against: what they print and write.
#include <cmath>

#include "cli/program.h"
#include "formats/safetensors/file.h"

namespace cachalot {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;
using Json = nlohmann::ordered_json;

class Results : public ProgramTest {
 protected:
  std::string out(const std::vector<std::string>& arguments, std::string_view input = "") {
    const Outcome o = run(arguments, input);
    EXPECT_EQ(o.status, 0) << testing::PrintToString(arguments) << "\n" << o.err;
    return o.out;
  }
  Json json(std::vector<std::string> arguments, std::string_view input = "") {
    arguments.emplace_back("--json");
    return Json::parse(out(arguments, input));
  }
  // The bytes of the tensor `logits` that the command writes for tokens 1 to 40.
  std::string logits(const std::vector<std::string>& more, int64_t rows = 40) {
    std::string tokens = "1";
    for (int i = 2; i <= 40; ++i) tokens += "," + std::to_string(i);
    std::vector<std::string> arguments = {"logits", golden("qwen3/plain"), "--tokens", tokens,
                                          "--out",  path("logits")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    EXPECT_THAT(out(arguments), IsEmpty());
    const auto file = SafetensorsFile::parse(MappedFile(path("logits")));
    const SafetensorsEntry* tensor = file.find("logits");
    if (!tensor) return "";
    EXPECT_EQ(tensor->dtype, DType::f32);
    EXPECT_THAT(tensor->shape, ElementsAre(rows, 283));
    return {reinterpret_cast<const char*>(tensor->bytes.data()), tensor->bytes.size()};
  }
};

TEST_F(Results, TokenizeAndDetokenizeUndoEachOther) {
  const std::string text = "Hello,\n  wörld 12345 你好 🙂\t<|im_end|>";
  std::string ids = out({"tokenize", kShipped}, text);
  ASSERT_THAT(ids, testing::MatchesRegex("[0-9,]+\n"));
  ids.pop_back();
  EXPECT_EQ(out({"detokenize", kShipped, ids}), text);
  EXPECT_EQ(out({"detokenize", kShipped, "-"}, ids), text);
  EXPECT_EQ(json({"detokenize", kShipped, ids})["text"], text);
  const Json tokens = json({"tokenize", kShipped}, text);
  EXPECT_EQ(tokens["ids"].size(), tokens["pieces"].size());
  EXPECT_EQ(tokens["pieces"].back(), "<|im_end|>");
  EXPECT_GT(json({"tokenize", kShipped, "--no-special"}, text)["ids"].size(), tokens["ids"].size());
  EXPECT_EQ(out({"tokenize", kShipped}, ""), "\n");
}

TEST_F(Results, TemplateRendersWithAGenerationPromptUnlessToldOtherwise) {
  const std::string chat = R"({"messages": [{"role": "user", "content": "Hi"}]})";
  write_file(path("chat.json"), chat);
  const std::string text = out({"template", kShipped, path("chat.json")});
  EXPECT_THAT(text, StartsWith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"));
  EXPECT_EQ(out({"template", kShipped, "-"}, chat), text);
  EXPECT_EQ(json({"template", kShipped, "-"}, chat)["text"], text);
  const std::string without =
      out({"template", kShipped, "-"},
          R"({"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": false})");
  EXPECT_EQ(without, "<|im_start|>user\nHi<|im_end|>\n");
}

TEST_F(Results, LogitsAreTheSameHoweverTheTokensAreFed) {
  const std::string whole = logits({"--weights", "f32"});
  EXPECT_EQ(logits({"--weights", "f32", "--chunk", "7"}), whole);
  EXPECT_EQ(logits({"--weights", "f32", "--decode-from", "5"}), whole);
  EXPECT_EQ(logits({"--weights", "f32", "--threads", "2"}), whole);
  EXPECT_EQ(logits({"--weights", "f32", "--last"}, 1), whole.substr(whole.size() - 283 * 4));
  EXPECT_NE(logits({"--weights", "bf16"}), whole);
}

TEST_F(Results, TracesAgreeWithTheReferenceAndNameTheFirstPointThatDiffers) {
  const auto reference = SafetensorsFile::parse(MappedFile(golden("qwen3/plain/trace.safetensors")));
  std::string tokens;
  for (size_t i = 0; i < reference.find("tokens")->bytes.size(); i += 4) {
    int32_t id;
    std::memcpy(&id, reference.find("tokens")->bytes.data() + i, 4);
    tokens += std::to_string(id) + " ";
  }
  write_file(path("ids"), tokens);
  const auto trace = [&](const std::string& file, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"trace",   golden("qwen3/plain"), "--tokens-file", path("ids"), "--out",
                                          path(file)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    EXPECT_THAT(out(arguments), IsEmpty());
  };
  trace("ours", {"--weights", "f32"});
  trace("chunked", {"--weights", "f32", "--chunk", "5"});
  trace("bf16", {"--weights", "bf16"});
  EXPECT_EQ(read_file(path("chunked")), read_file(path("ours")));

  const Outcome same = run({"trace", "--diff", path("ours"), golden("qwen3/plain/trace.safetensors")});
  EXPECT_EQ(same.status, 0) << same.out;
  EXPECT_THAT(same.out, HasSubstr("no difference beyond"));
  const Outcome differs = run({"trace", "--diff", path("ours"), path("bf16"), "--json"});
  EXPECT_EQ(differs.status, 1);
  EXPECT_EQ(differs.json()["first_difference"], "embed");
  EXPECT_EQ(differs.json()["points"].back()["name"], "logits");
  EXPECT_EQ(run({"trace", "--diff", path("ours"), path("bf16"), "--tolerance", "1000"}).status, 0);
}

TEST_F(Results, PerplexityIsTheMeanOfWhatTheLogitsSay) {
  const std::string text = "What is 47 + 86? It is 133.";
  write_file(path("text"), text);
  const Json result = json({"perplexity", kShipped, path("text"), "--weights", "f32"});
  const Json ids = json({"tokenize", kShipped, "--no-special"}, text)["ids"];
  EXPECT_EQ(result["tokens"], ids.size() - 1);

  write_file(path("ids"), ids.dump().substr(1, ids.dump().size() - 2));
  out({"logits", kShipped, "--tokens-file", path("ids"), "--weights", "f32", "--out", path("logits")});
  const auto file = SafetensorsFile::parse(MappedFile(path("logits")));
  const SafetensorsEntry& logits = *file.find("logits");
  double nll = 0;
  for (size_t row = 0; row + 1 < ids.size(); ++row) {
    std::vector<float> values(static_cast<size_t>(logits.shape[1]));
    std::memcpy(values.data(), logits.bytes.data() + row * values.size() * 4, values.size() * 4);
    double sum = 0;
    for (const float x : values) sum += std::exp(double{x});
    nll += std::log(sum) - values[ids[row + 1].get<size_t>()];
  }
  nll /= static_cast<double>(ids.size() - 1);
  EXPECT_NEAR(result["nll"], nll, 1e-9);
  EXPECT_NEAR(result["perplexity"], std::exp(nll), 1e-9 * std::exp(nll));
  const Json windows = json({"perplexity", kShipped, path("text"), "--context", "4"});
  EXPECT_LT(windows["tokens"], ids.size() - 1);
}

TEST_F(Results, InspectCountsWhatACheckpointHolds) {
  const Json result = json({"inspect", golden("qwen3/plain"), "--context", "100"});
  EXPECT_EQ(result["architecture"], "Qwen3ForCausalLM");
  EXPECT_EQ(result["family"], "qwen3");
  EXPECT_EQ(result["runs"], true);
  EXPECT_EQ(result["tokenizer"], false);
  EXPECT_EQ(result["context"], 100);
  int64_t elements = 0, bytes = 0;
  for (const Json& tensor : result["tensors"]) {
    int64_t product = 1;
    for (const int64_t size : tensor["shape"]) product *= size;
    elements += product;
    bytes += tensor["bytes"].get<int64_t>();
    EXPECT_TRUE(tensor.contains("name") && tensor.contains("dtype") && tensor.contains("held_as"));
  }
  EXPECT_EQ(result["parameters"], elements);
  EXPECT_EQ(result["active_parameters"], elements);
  EXPECT_EQ(result["weight_bytes"], bytes);
  EXPECT_GT(result["kv_bytes_per_token"], 0);
  EXPECT_EQ(json({"inspect", kShipped})["runs"], true);
  EXPECT_THAT(out({"inspect", kShipped, "--tensors"}), HasSubstr("model.embed_tokens.weight"));
}

TEST_F(Results, InspectSaysWhyACheckpointDoesNotRun) {
  fs::copy(golden("qwen3/plain"), folder_ / "other", fs::copy_options::recursive);
  auto config = Json::parse(read_file(folder_ / "other" / "config.json"));
  config["architectures"] = {"GPT2LMHeadModel"};
  write_file(folder_ / "other" / "config.json", config.dump());
  const Json result = json({"inspect", path("other")});
  EXPECT_EQ(result["runs"], false);
  EXPECT_THAT(result["reasons"][0], HasSubstr("GPT2LMHeadModel"));
  EXPECT_GT(result["parameters"], 0);
  EXPECT_THAT(out({"inspect", path("other")}), HasSubstr("runs          no"));
}

TEST_F(Results, BenchReportsEveryPhaseAgainstTheLimitsOfTheMachine) {
  const Json result = json({"bench", golden("qwen3/plain"), "--prefill", "16", "--decode", "4", "--depth", "8",
                            "--batch", "2", "--repeat", "2", "--threads", "1"});
  ASSERT_EQ(result["phases"].size(), 2U);
  for (const Json& phase : result["phases"]) {
    EXPECT_LE(phase["tokens_per_s"]["min"], phase["tokens_per_s"]["median"]);
    EXPECT_LE(phase["tokens_per_s"]["median"], phase["tokens_per_s"]["max"]);
    for (const char* key : {"bytes_per_s", "ops_per_s", "share_of_limit"}) EXPECT_GT(phase[key], 0) << key;
    EXPECT_THAT(phase["limit"], testing::AnyOf("bandwidth", "arithmetic"));
  }
  EXPECT_EQ(result["phases"][0]["phase"], "prefill");
  EXPECT_EQ(result["phases"][1]["phase"], "decode");
  for (const char* key : {"peak_bytes", "load_ms", "threads"}) EXPECT_GT(result[key], 0) << key;
  EXPECT_THAT(result["isa"].get<std::string>(), Not(IsEmpty()));
}

TEST_F(Results, BenchChoosesTokensAsTheCheckpointSays) {
  fs::copy(golden("qwen2/window"), folder_ / "samples", fs::copy_options::recursive);
  write_file(folder_ / "samples" / "generation_config.json",
             R"({"do_sample": true, "temperature": 0.6, "top_p": 0.95, "repetition_penalty": 1.1})");
  const std::vector<std::string> command = {
      "bench", path("samples"), "--prefill", "70",       "--decode", "6",         "--depth",
      "200",   "--batch",       "2",         "--repeat", "2",        "--threads", "1"};
  EXPECT_THAT(out(command), HasSubstr("sampling with temperature 0.6, top_p 0.95, repeat_penalty 1.1"));
  auto with_json = command;
  with_json.push_back("--json");
  EXPECT_EQ(json({"bench", golden("qwen2/window"), "--prefill", "4", "--decode", "2", "--repeat", "1"})["sampling"],
            (Json{{"temperature", 1.0}, {"top_k", 0}, {"top_p", 1.0}, {"min_p", 0.0}, {"repeat_penalty", 1.0}}));
  write_file(folder_ / "samples" / "generation_config.json", R"({"do_sample": false, "temperature": 0.6})");
  EXPECT_THAT(out(command), HasSubstr("choosing greedily"));
}

TEST_F(Results, BenchRefusesToTimeAModelThatComputesNonsense) {
  fs::copy(golden("qwen3/plain"), folder_ / "nan", fs::copy_options::recursive);
  std::fstream file(folder_ / "nan" / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-64, std::ios::end);
  for (int i = 0; i < 64; ++i) file.put('\xff');
  file.close();
  const Outcome o = run({"bench", path("nan"), "--prefill", "4", "--decode", "4"});
  EXPECT_EQ(o.status, 1);
  EXPECT_THAT(o.err, HasSubstr("its speed means nothing"));
}

}  // namespace
}  // namespace cachalot
