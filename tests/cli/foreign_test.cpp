// What people give for a model and is none, or not the whole of one: said for what it is, with advice.
#include "cli/program.h"
#include "formats/made_files.h"

namespace cachalot {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr const char* kPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";

class Foreign : public ProgramTest {
 protected:
  // A copy of the shipped model to take things from and add things to.
  std::string copy() {
    fs::remove_all(path("m"));
    fs::copy(kShipped, path("m"), fs::copy_options::recursive);
    return path("m");
  }
  std::string folder_of(const std::vector<std::pair<std::string, std::string>>& files) {
    fs::remove_all(path("m"));
    fs::create_directories(path("m"));
    for (const auto& [name, text] : files) write_file(path("m/" + name), text);
    return path("m");
  }
  void refused(const std::string& model, const std::string& what, const std::string& advice) {
    const Outcome o = run({"run", model, "hi"});
    EXPECT_EQ(o.status, 1);
    EXPECT_THAT(o.out, IsEmpty());
    EXPECT_THAT(o.err, AllOf(HasSubstr(what), HasSubstr("hint: "), HasSubstr(advice)));
  }
  void edit_config(const std::string& key, const nlohmann::ordered_json& value) {
    auto config = nlohmann::ordered_json::parse(read_file(path("m/config.json")));
    config[key] = value;
    write_file(path("m/config.json"), config.dump());
  }
};

TEST_F(Foreign, PointersInPlaceOfFiles) {
  for (const char* file : {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"}) {
    write_file(copy() + "/" + file, kPointer);
    refused(path("m"), std::string(file) + ": this is a Git LFS pointer", "git lfs pull");
  }
  write_file(path("m.gguf"), kPointer);
  refused(path("m.gguf"), "this is a Git LFS pointer", "git lfs pull");
}

TEST_F(Foreign, FilesOfOtherFormats) {
  const std::string zeros(4096, '\0');
  const std::tuple<std::string, std::string, const char*> files[] = {
      {"m.zip", "PK\3\4\x14", "this is a zip archive"},
      {"m.gguf", "PK\3\4\x14", "this is a zip archive"},
      {"m.bin", "PK\3\4 archive/data.pkl", "this is a PyTorch pickle"},
      {"m.bin", "\x80\2ccollections", "this is a PyTorch pickle"},
      {"m.onnx", "\x08\x07\x12\x07pytorch", "ONNX"},
      {"._m.gguf", std::string("\0\5\x16\7\0\2", 6), "AppleDouble"},
      {"m.gguf", "<!DOCTYPE html><html>", "this is a web page"},
      {"m.gguf", "tjgg\3", "the format before GGUF"},
      {"m.gguf", zeros, "zeros"},
      {"m.gguf.part", GgufMaker().text("general.architecture", "llama").build(), "not finished"},
      {"model.safetensors", read_file(kShipped + "/model.safetensors"), "give the folder"},
      {"blob", read_file(kShipped + "/model.safetensors"), "it looks like safetensors"}};
  for (const auto& [name, bytes, what] : files) {
    write_file(path(name), bytes);
    refused(path(name), what, "");
  }
}

TEST_F(Foreign, FoldersOfOtherKinds) {
  const std::string config = read_file(kShipped + "/config.json");
  refused(folder_of(
              {{"adapter_config.json", R"({"base_model_name_or_path": "a/b"})"}, {"adapter_model.safetensors", ""}}),
          "this is an adapter (LoRA), not a model\n  because: it changes the weights of 'a/b'", "merge_and_unload");
  refused(folder_of({{"config.json", config}, {"adapter_model.safetensors", ""}}), "this is an adapter", "merge");
  refused(folder_of({{"config.json", config}, {"pytorch_model.bin", ""}}), "a PyTorch pickle", "save_pretrained");
  refused(folder_of({{"consolidated.00.pth", ""}, {"params.json", "{}"}}), "a PyTorch pickle", "Meta's own form");
  refused(folder_of({{"model_index.json", R"({"_class_name": "FluxPipeline"})"}}), "a pipeline of diffusers",
          "language");
  refused(folder_of({{"config.json", config}, {"tf_model.h5", ""}}), "TensorFlow (HDF5)", "safetensors or GGUF");
  refused(folder_of({{"config.json", config}, {"model.gguf", ""}}), "no *.safetensors", "give the file itself");
}

TEST_F(Foreign, DownloadsThatAreNotFinished) {
  const std::string config = read_file(kShipped + "/config.json"), index = R"({"weight_map": {"a":
      "model-00001-of-00003.safetensors", "b": "model-00002-of-00003.safetensors", "c": "model-00003-of-00003.safetensors"}})";
  refused(folder_of({{"config.json", config}, {"model.safetensors.incomplete", ""}}), "the download is incomplete",
          "go on with the download");
  refused(folder_of({{"config.json", config},
                     {"model.safetensors.index.json", index},
                     {"model-00001-of-00003.safetensors", ""},
                     {"model-00002-of-00003.safetensors.part", ""}}),
          "the shards 'model-00002-of-00003.safetensors', 'model-00003-of-00003.safetensors' are missing",
          "the download is incomplete");
  refused(folder_of({{"config.json", config}, {"model-00001-of-00003.safetensors", ""}}), "one of several",
          "the download is incomplete");
}

TEST_F(Foreign, QuantizationsThatAreNotRead) {
  copy();
  edit_config("quantization", {{"group_size", 64}, {"bits", 4}});
  refused(path("m"), "quantized with MLX, which is not read\n  because: quantization: 4 bits in groups of 64",
          "GGUF");
  copy();
  edit_config("quantization_config", {{"group_size", 64}, {"bits", 8}});
  refused(path("m"), "quantized with MLX", "GGUF");
  for (const auto& [method, shown] : {std::pair{"awq", "AWQ"},
                                      {"gptq", "GPTQ"},
                                      {"bitsandbytes", "bitsandbytes"},
                                      {"compressed-tensors", "compressed-tensors"},
                                      {"exl2", "ExLlamaV2"}}) {
    copy();
    edit_config("quantization_config", {{"quant_method", method}, {"bits", 4}, {"group_size", 128}});
    refused(path("m"), std::string("quantized with ") + shown + ", which is not read", "GGUF");
  }
  for (const auto& [tensor, shown] : {std::pair{"a.weight_packed", "compressed-tensors"},
                                      {"a.qweight", "GPTQ or AWQ"},
                                      {"a.weight.absmax", "bitsandbytes"}})
    refused(folder_of({{"config.json", read_file(kShipped + "/config.json")},
                       {"model.safetensors",
                        safetensors_file(R"({")" + std::string(tensor) +
                                             R"(": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}})",
                                         "x")}}),
            std::string("quantized with ") + shown, "GGUF");
}

TEST_F(Foreign, ModelsOfOtherKinds) {
  copy();
  edit_config("architectures", {"Qwen2_5_VLForConditionalGeneration"});
  edit_config("vision_config", nlohmann::ordered_json::object());
  refused(path("m"), "reads images or sound as well as text", "reads and writes text alone");
  copy();
  edit_config("architectures", {"Qwen3ForSequenceClassification"});
  refused(path("m"), "a head that classifies texts", "");
  const std::tuple<const char*, const char*, const char*> files[] = {{"clip", "mmproj", "(mmproj)"},
                                                                     {"clip", "model", "(mmproj)"},
                                                                     {"qwen2", "adapter", "an adapter (LoRA)"},
                                                                     {"", "imatrix", "an importance matrix"}};
  for (const auto& [architecture, type, what] : files) {
    GgufMaker maker;
    if (*architecture) maker.text("general.architecture", architecture);
    write_file(path("m.gguf"), maker.text("general.type", type).f32_tensor("x", {32, 1}).build());
    refused(path("m.gguf"), what, "");
    const Outcome inspected = run({"inspect", path("m.gguf")});
    EXPECT_EQ(inspected.status, 0);
    EXPECT_THAT(inspected.out, HasSubstr(what));
  }
}

TEST_F(Foreign, WhatMacOsLeavesBehindIsNoFileOfTheCheckpoint) {
  copy();
  fs::rename(path("m/model.safetensors"), path("m/weights.safetensors"));
  write_file(path("m/._weights.safetensors"), std::string("\0\5\x16\7", 4));
  write_file(path("m/.DS_Store"), "x");
  EXPECT_EQ(run({"run", path("m"), "hi", "--max-tokens", "1"}).status, 0);
}

TEST_F(Foreign, AnAdapterBesideTheWeightsIsSaidNotToBeApplied) {
  write_file(copy() + "/adapter_config.json", "{}");
  const Outcome o = run({"run", path("m"), "hi", "--max-tokens", "1"});
  EXPECT_EQ(o.status, 0);
  EXPECT_THAT(o.err, HasSubstr("not applied"));
}

TEST_F(Foreign, AContextBeyondTheTrainedOneIsWarnedOf) {
  const auto err_of = [&](const char* context) {
    return run({"run", path("m"), "hi", "--max-tokens", "1", "--context", context}).err;
  };
  copy();  // 256 positions
  EXPECT_THAT(err_of("256"), Not(HasSubstr("warning")));
  EXPECT_THAT(err_of("257"), AllOf(HasSubstr("warning"), HasSubstr("257"), HasSubstr("256")));
  edit_config(
      "rope_parameters",
      {{"rope_theta", 10000.0}, {"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 256}});
  EXPECT_THAT(err_of("1024"), Not(HasSubstr("warning")));
  EXPECT_THAT(err_of("1025"), AllOf(HasSubstr("1025"), HasSubstr("1024")));
}

// A cache whose blob is gone: what was published is not done without.
TEST_F(Foreign, ALinkThatLeadsNowhereIsNoFileThatWasNeverThere) {
  const std::string model = copy();
  const auto refuses = [&](const std::string& file, const std::vector<std::string>& arguments) {
    SCOPED_TRACE(file + ": " + arguments[0]);
    fs::rename(fs::path(model) / file, path("kept"));
    fs::create_symlink("gone", fs::path(model) / file);
    const Outcome o = run(arguments, "1 + 1");
    EXPECT_EQ(o.status, 1);
    EXPECT_THAT(o.err, AllOf(HasSubstr(file), HasSubstr("cannot ")));
    fs::remove(fs::path(model) / file);
    fs::rename(path("kept"), fs::path(model) / file);
  };
  const std::vector<std::string> quantize = {"quantize", model, path("out.gguf"), "--type", "q8_0"};
  for (const char* file : {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "model.safetensors"})
    refuses(file, quantize);
  for (const char* file : {"tokenizer.json", "tokenizer_config.json", "model.safetensors"})
    refuses(file, {"run", model, "hi"});
  refuses("tokenizer_config.json", {"tokenize", model});
  EXPECT_FALSE(fs::exists(path("out.gguf")));
  fs::remove(fs::path(model) / "generation_config.json");
  fs::create_symlink("generation_config.json", fs::path(model) / "generation_config.json");  // a loop
  EXPECT_THAT(run({"run", model, "hi", "--max-tokens", "1"}).err, HasSubstr("warning: the recommended parameters"));
}

TEST_F(Foreign, DefaultsOfGenerationStopNothingThatDoesNotUseThem) {
  write_file(copy() + "/generation_config.json", R"({"do_sample": true, "top_k": -1, "repetition_penalty": 0,
      "temperature": "hot", "eos_token_id": [509, 507]})");
  const Outcome used = run({"run", path("m"), "hi", "--max-tokens", "1"});
  EXPECT_EQ(used.status, 0);
  for (const char* key : {"generation_config.json: top_k = -1", "repetition_penalty = 0", "temperature = \"hot\""})
    EXPECT_THAT(used.err, HasSubstr(key));
  const Outcome given =
      run({"run", path("m"), "hi", "--max-tokens", "1", "--temperature", "0", "--repeat-penalty", "1"});
  EXPECT_THAT(given.err, Not(HasSubstr("warning"))) << "greedy choices ask for no top_k";
  write_file(path("text"), "1 + 1 = 2");
  write_file(path("chat.json"), R"({"messages": [{"role": "user", "content": "hi"}]})");
  const std::vector<std::vector<std::string>> commands = {
      {"inspect", path("m")},
      {"tokenize", path("m")},
      {"template", path("m"), path("chat.json")},
      {"logits", path("m"), "--tokens", "1", "--out", path("out")},
      {"perplexity", path("m"), path("text")},
      {"quantize", path("m"), path("out.gguf"), "--type", "q8_0"}};
  for (const auto& command : commands) {
    const Outcome o = run(command, "hi");
    EXPECT_EQ(o.status, 0) << command[0] << o.err;
    EXPECT_THAT(o.err, Not(HasSubstr("warning"))) << command[0];
  }
}

TEST_F(Foreign, ASecondBosIsWarnedOf) {
  copy();
  auto config = nlohmann::ordered_json::parse(read_file(path("m/tokenizer_config.json")));
  config["bos_token"] = "<|im_start|>";
  config["add_bos_token"] = true;
  write_file(path("m/tokenizer_config.json"), config.dump());
  const Outcome twice = run({"run", path("m"), "<|im_start|>user", "--raw", "--max-tokens", "1"});
  EXPECT_THAT(twice.err, AllOf(HasSubstr("warning"), HasSubstr("BOS token '<|im_start|>'")));
  EXPECT_THAT(run({"run", path("m"), "user", "--raw", "--max-tokens", "1"}).err, Not(HasSubstr("warning")));
  EXPECT_THAT(run({"tokenize", path("m"), "--bos"}, "<|im_start|>user").err, HasSubstr("warning"));
}

TEST_F(Foreign, ARepositoryOfTheCacheIsItsSnapshot) {
  const fs::path repository = path("models--o--n"), snapshot = repository / "snapshots" / std::string(40, 'a');
  fs::create_directories(repository / "refs");
  fs::create_directories(snapshot.parent_path());
  fs::copy(kShipped, snapshot, fs::copy_options::recursive);
  write_file(repository / "refs/main", std::string(40, 'a'));
  const Outcome o = run({"run", repository, "hi", "--max-tokens", "1"});
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_THAT(o.err, HasSubstr("a repository of the Hugging Face cache"));
  refused(repository / "snapshots", "holds the snapshots of a repository", "give one of them");
}

}  // namespace
}  // namespace cachalot
