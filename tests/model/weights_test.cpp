// Binding a spec's parameters to the tensors of a checkpoint that lacks some.
#include "model/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/error.h"
#include "support/goldens.h"

namespace cachalot::testing {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class MissingTensors : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    fs::copy(golden_root() / GetParam() / "config.json", folder_);
    std::stringstream text;
    text << std::ifstream(golden_root() / GetParam() / "model.safetensors", std::ios::binary).rdbuf();
    whole_ = text.str();
  }
  void TearDown() override { fs::remove_all(folder_); }

  // What binding says when tensor `name` has another name.
  std::string refusal_without(const std::string& name) const {
    std::string file = whole_;
    file[file.find("\"" + name + "\"") + 1] = '-';
    std::ofstream(folder_ / "model.safetensors", std::ios::binary) << file;
    try {
      const Checkpoint checkpoint = Checkpoint::open(folder_);
      const Config config = model_config(checkpoint);
      const Family& family = family_of(config);
      ModelSpec spec = family.spec(config);
      keep_stored(family, checkpoint, spec);
      bind_tensors(family, spec, checkpoint, {});
    } catch (const Error& e) { return e.what(); }
    return "accepted";
  }

  const fs::path folder_ = fs::path(::testing::TempDir()) / "cachalot_missing_tensors" /
                           ::testing::UnitTest::GetInstance()->current_test_info()->name();
  std::string whole_;
};

TEST_P(MissingTensors, AreNamedWhicheverItIs) {
  const Checkpoint checkpoint = Checkpoint::open(golden_root() / GetParam());
  ASSERT_FALSE(checkpoint.tensors().empty());
  for (const StoredTensor& tensor : checkpoint.tensors())
    EXPECT_THAT(refusal_without(tensor.name), HasSubstr("tensor '" + tensor.name + "' is missing"));
}

// One golden for each arrangement that safetensors have, all in one file and every tensor of one possible name.
INSTANTIATE_TEST_SUITE_P(Goldens, MissingTensors,
                         ::testing::Values("deepseek_v3/plain", "qwen/plain", "qwen2_moe/plain"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '/', '_');
                           return name;
                         });

}  // namespace cachalot::testing
