// `cachalot inspect` of checkpoints of every kind, and of configs without weights.
#include "cli/program.h"
#include "tensor/dtype.h"

namespace cachalot {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Json = nlohmann::ordered_json;

class Inspect : public ProgramTest {
 protected:
  std::string text(const std::string& model, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"inspect", model};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome o = run(arguments);
    EXPECT_EQ(o.status, 0) << o.err;
    return o.out;
  }
  Json json(const std::string& model, std::vector<std::string> more = {}) {
    more.emplace_back("--json");
    return Json::parse(text(model, more));
  }
  static std::string config(const std::string& name) { return golden("configs/" + name + ".json"); }
};

TEST_F(Inspect, TellsOfEveryPublishedModelByItsConfigAlone) {
  const Json expected = Json::parse(read_file(golden("configs/expected.json")))["models"];
  ASSERT_GT(expected.size(), 40U);
  for (const auto& [name, want] : expected.items()) {
    SCOPED_TRACE(name);
    const Json got = json(config(name));
    const Json raw = Json::parse(read_file(config(name)));
    EXPECT_EQ(got["family"], raw["model_type"]);
    EXPECT_EQ(got["architecture"], raw["architectures"][0]);
    EXPECT_EQ(got["parameters"], want["parameters"]);
    EXPECT_EQ(got["active_parameters"], want["active_parameters"]);
    EXPECT_EQ(got["kv_bytes_per_token"], want["kv_elements_per_token"].get<int64_t>() * 2);
    EXPECT_EQ(got["context"], raw["max_position_embeddings"]);
    EXPECT_EQ(got["kv_bytes"], got["kv_bytes_at_full_context"]);
    EXPECT_EQ(got["state_bytes_per_sequence"], 0) << "no such layers";
    EXPECT_GE(got["kv_bytes"], got["kv_bytes_per_token"].get<int64_t>() * got["context"].get<int64_t>());
    EXPECT_EQ(got["weights_present"], false);
    EXPECT_EQ(got["runs"], false);
    EXPECT_EQ(got["tensors"].size(), 0U);
    if (want.contains("mtp_parameters"))
      EXPECT_EQ(got["mtp"]["parameters"], want["mtp_parameters"]);
    else
      EXPECT_EQ(got["mtp"], nullptr);
  }
}

TEST_F(Inspect, SaysWhatEveryTypeOfWeightsNeedsAndWhetherItFits) {
  for (const std::string& model : {config("DeepSeek-R1"), config("Qwen3-30B-A3B-FP8"), golden("deepseek_v3/mtp"),
                                   golden("gguf/qwen3-plain.gguf"), kShipped}) {
    SCOPED_TRACE(model);
    const Json got = json(model);
    const int64_t available = got["available_bytes"];
    ASSERT_GE(got["memory"].size(), 3U);
    EXPECT_EQ(got["memory"][0]["weights"], "auto");
    for (const Json& row : got["memory"]) {
      const int64_t total = row["total_bytes"];
      EXPECT_EQ(total, row["weight_bytes"].get<int64_t>() + row["cache_bytes"].get<int64_t>() +
                           row["activation_bytes"].get<int64_t>());
      EXPECT_EQ(row["fits"], total <= available);
      EXPECT_THAT(row["reason"].get<std::string>(), AllOf(HasSubstr("needs"), HasSubstr("available")));
      EXPECT_EQ(row["kv"], row["weights"] == "f32" ? "f32" : "bf16");
      const DTypeInfo& type = info(*dtype_from_name(row["held_as"].get<std::string>()));
      const int64_t least = got["parameters"].get<int64_t>() * type.block_bytes / type.block_elements;
      EXPECT_GE(row["weight_bytes"], least);
      EXPECT_LE(row["weight_bytes"], 1.2 * static_cast<double>(least) + 1e6) << "little is lost to padding";
    }
  }
}

TEST_F(Inspect, ForetellsTheBytesThatTheSameCheckpointTakesWhenItIsThere) {
  for (const char* name : {"qwen3/plain", "deepseek_v3/mtp", "qwen2_moe/plain", "qwen/ntk", "cachalot/report_qwen"}) {
    SCOPED_TRACE(name);
    const Json whole = json(golden(name)), alone = json(golden(name) + "/config.json");
    for (const char* key : {"parameters", "active_parameters", "kv_bytes_per_token", "kv_bytes",
                            "state_bytes_per_sequence", "experts", "mla"})
      EXPECT_EQ(alone[key], whole[key]) << key;
    EXPECT_EQ(alone["mtp"], whole["mtp"]);
    ASSERT_EQ(alone["memory"].size(), whole["memory"].size());
    for (size_t i = 1; i < whole["memory"].size(); ++i)  // what auto comes to depends on the files
      for (const char* key : {"weight_bytes", "cache_bytes", "activation_bytes"})
        EXPECT_EQ(alone["memory"][i][key], whole["memory"][i][key]) << whole["memory"][i]["weights"] << " " << key;
  }
}

TEST_F(Inspect, ExplainsDeepSeekR1BeforeItIsDownloaded) {
  fs::create_directories(folder_ / "R1");
  fs::copy_file(config("DeepSeek-R1"), folder_ / "R1/config.json");
  const std::string out = text(path("R1"), {"--context", "8192"});
  EXPECT_THAT(out, HasSubstr("parameters    671 B, 37.6 B active per token"));
  EXPECT_THAT(out, HasSubstr("prediction    a module of 11.6 B more"));
  EXPECT_THAT(out, HasSubstr("weights       none here; by the config about 638 GiB (f8_e4m3"));
  EXPECT_THAT(out, HasSubstr("128 heads of 192, latent (MLA): 512 + 64 numbers cached per token and layer"));
  EXPECT_THAT(out, HasSubstr("8 of 256 per token, 2048 wide, and 1 shared, in 58 of 61 layers"));
  EXPECT_THAT(out, HasSubstr("68.6 KiB per token in bf16, 549 MiB at 8192 tokens, 10.7 GiB at all 163840"));
  EXPECT_THAT(out, HasSubstr("no: needs 2.49 TiB"));
  EXPECT_THAT(out, HasSubstr("runs          no\n"));
  const Json facts = json(path("R1"));
  EXPECT_EQ(facts["experts"]["total"], 256);
  EXPECT_EQ(facts["experts"]["active"], 8);
  EXPECT_EQ(facts["experts"]["shared"], 1);
  EXPECT_EQ(facts["mla"]["cached_per_token_and_layer"], 576);
  EXPECT_EQ(facts["mtp"]["modules"], 1);
  EXPECT_EQ(facts["mtp"]["kv_bytes_per_token"], 576 * 2);
  EXPECT_EQ(facts["memory"][0]["held_as"], "f8_e4m3");
}

TEST_F(Inspect, SaysHowFarTheHeldNumbersAreFromTheStoredOnes) {
  EXPECT_THAT(text(kShipped), AllOf(HasSubstr("held as       bf16 as f32 (exact; "), HasSubstr(", bf16 (exact; ")));
  const std::string anew = text(kShipped, {"--weights", "q8_0"});
  EXPECT_THAT(anew, HasSubstr("bf16 as q8_0 (quantized anew; "));
  EXPECT_THAT(anew, HasSubstr("what meets quantized weights is rounded to 8 bits"));
}

TEST_F(Inspect, CountsTheCacheInTheTypeThatIsAskedFor) {
  const Json bf16 = json(kShipped), f32 = json(kShipped, {"--kv", "f32"}),
             exact = json(kShipped, {"--weights", "f32"});
  const int64_t bytes = bf16["kv_bytes_per_token"];
  EXPECT_EQ(f32["kv_bytes_per_token"], 2 * bytes);
  EXPECT_EQ(exact["kv_bytes_per_token"], 2 * bytes);
  for (const Json& row : f32["memory"]) EXPECT_EQ(row["kv"], "f32");
}

TEST_F(Inspect, RefusesWhatIsNeitherACheckpointNorAConfig) {
  fs::create_directories(folder_ / "empty");
  EXPECT_EQ(run({"inspect", path("empty")}).status, 1);
  write_file(path("list.json"), "[1, 2]");
  EXPECT_EQ(run({"inspect", path("list.json")}).status, 1);
  const Outcome o = run({"inspect", config("Qwen3-8B"), "--tensors"});
  EXPECT_EQ(o.status, 1);
  EXPECT_THAT(o.err, HasSubstr("no tensors to list"));
}

TEST_F(Inspect, SaysWhyWeightsThatAreThereAreNotRead) {
  fs::create_directories(folder_ / "pickle");
  fs::copy_file(config("Qwen3-8B"), folder_ / "pickle/config.json");
  write_file(path("pickle/pytorch_model.bin"), "PK");
  const Json got = json(path("pickle"));
  EXPECT_EQ(got["runs"], false);
  EXPECT_THAT(got["reasons"][0].get<std::string>(), HasSubstr("PyTorch pickle"));
  EXPECT_EQ(got["parameters"], 8190735360);
}

TEST_F(Inspect, KnowsQuantizationsThatItCannotReadAndFamiliesThatItDoesNotServe) {
  Json raw = Json::parse(read_file(config("Qwen3-8B")));
  raw["quantization_config"] = {{"quant_method", "gptq"}, {"bits", 4}};
  write_file(path("gptq.json"), raw.dump());
  const Json gptq = json(path("gptq.json"));
  EXPECT_EQ(gptq["parameters"], 8190735360);
  EXPECT_THAT(gptq["reasons"].dump(), HasSubstr("GPTQ"));
  EXPECT_EQ(gptq["memory"].size(), 0U);

  raw["architectures"] = {"GPT2LMHeadModel"};
  write_file(path("gpt2.json"), raw.dump());
  const Json other = json(path("gpt2.json"));
  EXPECT_EQ(other["family"], nullptr);
  EXPECT_EQ(other["parameters"], nullptr);
  EXPECT_THAT(other["reasons"].dump(), HasSubstr("GPT2LMHeadModel"));
  EXPECT_THAT(text(path("gpt2.json")), HasSubstr("architecture  GPT2LMHeadModel\n"));
}

TEST_F(Inspect, SurvivesConfigsWhoseSizesOverflow) {
  const auto reasons = [&](Json change) {
    Json raw = Json::parse(read_file(config("Qwen3-30B-A3B")));
    raw.update(change);
    write_file(path("huge.json"), raw.dump());
    const Json got = json(path("huge.json"));
    EXPECT_EQ(got["runs"], false);
    return got["reasons"].dump();
  };
  EXPECT_THAT(reasons({{"moe_intermediate_size", 1 << 30}, {"num_experts", 1 << 16}}), HasSubstr("more than"));
  EXPECT_THAT(reasons({{"hidden_size", 1},
                       {"num_attention_heads", 1 << 16},
                       {"num_key_value_heads", 1 << 16},
                       {"head_dim", 1 << 12},
                       {"num_hidden_layers", 1000},
                       {"max_position_embeddings", 1 << 30}}),
              HasSubstr("10^15 numbers"));
}

TEST_F(Inspect, MeasuresHowFastAModelThatIsNotHereWouldDecode) {
  const auto rate = [&](const char* weights) {
    const Json got = json(config("Qwen3-0.6B"), {"--context", "512", "--weights", weights, "--speed"});
    return got["decode_tokens_per_s"].get<double>();
  };
  const double bf16 = rate("bf16"), q4_k = rate("q4_k");
  EXPECT_GT(bf16, 0.1);
  EXPECT_LT(bf16, 1000);
  EXPECT_GT(q4_k, 0.5 * bf16) << "it reads a third of the bytes";
  EXPECT_TRUE(json(config("Qwen3-0.6B"))["decode_tokens_per_s"].is_null()) << "it is measured when it is asked for";
  const Outcome tiny = run({"inspect", golden("qwen3/plain"), "--speed"});
  EXPECT_THAT(tiny.err, HasSubstr("a token reads too few weights to tell by"));
}

TEST_F(Inspect, ReadsNoWeightsSoFilesOfAnySizeAreShownAtOnce) {
  // A sparse file of 40 GB with a whole header: only a program that stays in the header is fast.
  const std::string header =
      R"({"model.embed_tokens.weight":{"dtype":"F32","shape":[100000,100000],"data_offsets":[0,40000000000]}})";
  fs::create_directories(folder_ / "sparse");
  fs::copy_file(config("Qwen3-8B"), folder_ / "sparse/config.json");
  std::string file(8, '\0');
  for (int i = 0; i < 8; ++i) file[static_cast<size_t>(i)] = static_cast<char>(header.size() >> (8 * i));
  write_file(path("sparse/model.safetensors"), file + header);
  fs::resize_file(folder_ / "sparse/model.safetensors", 8 + header.size() + 40000000000);
  const Json got = json(path("sparse"));
  EXPECT_EQ(got["weight_bytes"], 40000000000);
  EXPECT_THAT(got["reasons"].dump(), HasSubstr("was expected"));
}

}  // namespace
}  // namespace cachalot
