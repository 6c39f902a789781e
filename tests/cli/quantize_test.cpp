#include "program.h"

namespace cachalot {
namespace {

using testing::HasSubstr;

class QuantizeTest : public ProgramTest {};

TEST_F(QuantizeTest, AQuantizedModelThatShipsAnswersAsBefore) {
  for (const char* model : {"tiny-qwen", "tiny-r1"}) {
    const std::string source = std::string(CACHALOT_SOURCE_DIR "/models/") + model,
                      file = path(std::string(model) + ".gguf");
    const Outcome made = run({"quantize", source, file, "--type", "q8_0"});
    ASSERT_EQ(made.status, 0) << made.err;
    EXPECT_THAT(made.out, HasSubstr("token_embd.weight"));
    const std::vector<std::string> rest = {"What is 47 + 86?", "--temperature", "0", "--json"};
    std::vector<std::string> before = {"run", source}, after = {"run", file};
    before.insert(before.end(), rest.begin(), rest.end());
    after.insert(after.end(), rest.begin(), rest.end());
    const auto want = run(before).json(), got = run(after).json();
    EXPECT_EQ(got["text"], want["text"]) << model;
    EXPECT_EQ(got["finish_reason"], "stop") << model;
  }
}

TEST_F(QuantizeTest, JsonSaysWhatEachKindOfTensorBecame) {
  const Outcome made = run({"quantize", kShipped, path("a.gguf"), "--type", "Q4_K_M", "--json"});
  ASSERT_EQ(made.status, 0) << made.err;
  const auto report = made.json();
  EXPECT_EQ(report["type"], "q4_k_m");
  int64_t bytes = 0;
  for (const auto& kind : report["kinds"]) bytes += kind["bytes"].get<int64_t>();
  EXPECT_EQ(report["bytes"], bytes);
  EXPECT_GT(fs::file_size(path("a.gguf")), static_cast<uintmax_t>(bytes));
}

TEST_F(QuantizeTest, KeepsAnExistingFileUnlessForced) {
  write_file(path("a.gguf"), "precious");
  const Outcome refused = run({"quantize", kShipped, path("a.gguf"), "--type", "q8_0"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.err, HasSubstr("--force"));
  EXPECT_EQ(read_file(path("a.gguf")), "precious");
  EXPECT_EQ(run({"quantize", kShipped, path("a.gguf"), "--type", "q8_0", "--force"}).status, 0);
  EXPECT_EQ(run({"inspect", path("a.gguf")}).status, 0);
}

TEST_F(QuantizeTest, NeverWritesOverWhatItReads) {
  ASSERT_EQ(run({"quantize", kShipped, path("a.gguf"), "--type", "q8_0"}).status, 0);
  const std::string before = read_file(path("a.gguf"));
  fs::create_symlink("a.gguf", path("soft"));
  fs::create_hard_link(path("a.gguf"), path("hard"));
  for (const char* out : {"a.gguf", "soft", "hard"}) {
    const Outcome o = run({"quantize", path("a.gguf"), path(out), "--type", "q4_0", "--force"});
    EXPECT_EQ(o.status, 1) << out;
    EXPECT_THAT(o.err, HasSubstr("is a file that is read")) << out;
  }
  EXPECT_EQ(read_file(path("a.gguf")), before);

  fs::copy(kShipped, path("model"), fs::copy_options::recursive);
  write_file(path("text"), "What is 12 + 34?");
  for (const auto& entry : fs::directory_iterator(path("model"))) {
    const std::string extension = entry.path().extension();
    if (extension != ".json" && extension != ".safetensors" && extension != ".jinja") continue;
    const std::string content = read_file(entry.path());
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"quantize", path("model"), entry.path(), "--type", "q8_0", "--force"},
          {"logits", path("model"), "--tokens", "1", "--out", entry.path()},
          {"trace", path("model"), "--tokens", "1", "--out", entry.path()}}) {
      const Outcome o = run(arguments);
      EXPECT_EQ(o.status, 1) << testing::PrintToString(arguments);
      EXPECT_THAT(o.err, HasSubstr("is a file that is read"));
    }
    EXPECT_EQ(read_file(entry.path()), content);
  }
  EXPECT_EQ(
      run({"quantize", kShipped, path("text"), "--type", "q8_0", "--force", "--calibration", path("text")}).status,
      1);
  EXPECT_EQ(read_file(path("text")), "What is 12 + 34?");
  write_file(path("ids"), "1 2 3");
  EXPECT_EQ(run({"logits", kShipped, "--tokens-file", path("ids"), "--out", path("ids")}).status, 1);
  EXPECT_EQ(read_file(path("ids")), "1 2 3");
  EXPECT_EQ(run({"quantize", path("model"), path("model/q8.gguf"), "--type", "q8_0"}).status, 0) << "beside them";
}

TEST_F(QuantizeTest, CalibrationWeighsTheErrors) {
  write_file(path("text"), "What is 12 + 34? What is 56 + 78? Sort 3, 1, 2.");
  const Outcome made = run({"quantize", kShipped, path("a.gguf"), "--type", "q4_0", "--calibration", path("text")});
  ASSERT_EQ(made.status, 0) << made.err;
  EXPECT_THAT(made.out, HasSubstr("weighted"));
  EXPECT_THAT(made.err, HasSubstr("calibrated on"));
}

TEST_F(QuantizeTest, SaysWhatIsWrong) {
  const Outcome type = run({"quantize", kShipped, path("a.gguf"), "--type", "q9_z"});
  EXPECT_EQ(type.status, 2);
  EXPECT_THAT(type.err, HasSubstr("known: f32"));
  EXPECT_EQ(run({"quantize", kShipped, path("a.gguf")}).status, 2) << "--type is required";
  const Outcome folder = run({"quantize", kShipped, path("missing/a.gguf"), "--type", "q8_0"});
  EXPECT_EQ(folder.status, 1);
  EXPECT_THAT(folder.err, HasSubstr("No such file"));
  const Outcome qwen1 = run({"quantize", golden("qwen/plain"), path("a.gguf"), "--type", "q8_0"});
  EXPECT_EQ(qwen1.status, 1);
  EXPECT_THAT(qwen1.err, HasSubstr("cannot be written as GGUF"));
  if (fs::exists("/dev/full")) {
    const Outcome full = run({"quantize", kShipped, "/dev/full", "--type", "q8_0"});
    EXPECT_EQ(full.status, 1);
    EXPECT_THAT(full.err, HasSubstr("No space left"));
  }
}

}  // namespace
}  // namespace cachalot
