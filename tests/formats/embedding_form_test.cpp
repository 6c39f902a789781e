// What sentence-transformers' files and GGUF's key say of embeddings, and what is asked for in vain.
#include "formats/embedding_form.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "formats/made_files.h"
#include "support/goldens.h"

namespace cachalot::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;

// A checkpoint of a golden with other words beside it; "" is no file.
class EmbeddingForms : public ::testing::Test {
 protected:
  const fs::path folder = fs::path(::testing::TempDir()) / "embedding_form";

  void SetUp() override {
    fs::remove_all(folder);
    fs::create_directories(folder / "1_Pooling");
    for (const char* file : {"config.json", "model.safetensors"})
      fs::copy(golden_root() / "embeddings/qwen3_last" / file, folder);
  }
  void TearDown() override { fs::remove_all(folder); }

  EmbeddingForm form(const std::string& modules, const std::string& pooling) const {
    const auto write = [](const fs::path& file, const std::string& text) {
      fs::remove(file);
      if (!text.empty()) std::ofstream(file) << text;
    };
    write(folder / "modules.json", modules);
    write(folder / "1_Pooling/config.json", pooling);
    return read_embedding_form(Checkpoint::open(folder));
  }
  static std::string modules(const std::vector<std::pair<std::string, std::string>>& list) {
    json all = json::array();
    for (const auto& [path, type] : list)
      all.push_back({{"idx", all.size()}, {"path", path}, {"type", "sentence_transformers.models." + type}});
    return all.dump();
  }
  std::string refusal(const std::string& modules, const std::string& pooling) const {
    const EmbeddingForm f = form(modules, pooling);
    return f.refusal ? f.refusal->what() : "none";
  }
};

TEST_F(EmbeddingForms, AreTheLastRowOfLengthOneWhereNothingIsSaid) {
  const EmbeddingForm f = form("", "");
  EXPECT_EQ(f.pooling, Pooling::last);
  EXPECT_TRUE(f.normalized);
  EXPECT_EQ(f.said_by, "");
  EXPECT_FALSE(f.refusal);
}

TEST_F(EmbeddingForms, AreWhatTheModulesSay) {
  const std::string plain = modules({{"", "Transformer"}, {"1_Pooling", "Pooling"}}),
                    whole = modules({{"", "Transformer"}, {"1_Pooling", "Pooling"}, {"2_Normalize", "Normalize"}});
  const std::pair<const char*, Pooling> kConfigs[] = {
      {R"({"pooling_mode_lasttoken": true})", Pooling::last},
      {R"({"pooling_mode_lasttoken": true, "pooling_mode_mean_tokens": false})", Pooling::last},
      {R"({"pooling_mode_cls_token": true})", Pooling::first},
      {R"({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false})", Pooling::mean},
      {R"({"pooling_mode_cls_token": false})", Pooling::mean},
      {R"({})", Pooling::mean},
      {R"({"pooling_mode": "lasttoken", "pooling_mode_cls_token": true})", Pooling::last},
      {R"({"pooling_mode": ["cls"]})", Pooling::first}};
  for (const auto& [config, pooling] : kConfigs) {
    SCOPED_TRACE(config);
    EXPECT_EQ(form(plain, config).pooling, pooling);
    EXPECT_FALSE(form(plain, config).normalized);
    EXPECT_TRUE(form(whole, config).normalized);
    EXPECT_TRUE(form("", config).normalized) << "without modules.json nothing is said of the length";
    EXPECT_EQ(form("", config).pooling, pooling);
    EXPECT_THAT(form(whole, config).said_by, HasSubstr("1_Pooling"));
    EXPECT_FALSE(form(whole, config).refusal);
  }
  const EmbeddingForm unpooled = form(modules({{"", "Transformer"}}), "{}");
  EXPECT_EQ(unpooled.pooling, Pooling::last);
  EXPECT_TRUE(unpooled.normalized);
  EXPECT_EQ(unpooled.said_by, "");
}

TEST_F(EmbeddingForms, AreRefusedWhereTheyCannotBeMade) {
  const std::string plain = modules({{"", "Transformer"}, {"1_Pooling", "Pooling"}});
  for (const char* mode : {"max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens"})
    EXPECT_THAT(refusal(plain, fmt::format(R"({{"pooling_mode_{}": true}})", mode)), HasSubstr("is not supported"));
  EXPECT_THAT(refusal(plain, R"({"pooling_mode_cls_token": true, "pooling_mode_lasttoken": true})"),
              HasSubstr("2 ways to pool are asked for (cls, lasttoken)"));
  EXPECT_THAT(refusal(plain, R"({"pooling_mode": "new"})"), HasSubstr("'new'"));
  EXPECT_THAT(refusal(plain, R"({"pooling_mode": 5})"), HasSubstr("pooling_mode"));
  EXPECT_THAT(refusal(plain, R"({"pooling_mode_cls_token": 1})"), HasSubstr("neither true nor false"));
  EXPECT_THAT(refusal(plain, "[]"), HasSubstr("1_Pooling/config.json"));
  EXPECT_THAT(refusal(plain, "{"), HasSubstr("1_Pooling/config.json"));
  EXPECT_THAT(refusal(plain, ""), HasSubstr("1_Pooling/config.json"));
  const auto after = [](const std::string& type) {
    return modules({{"", "Transformer"}, {"1_Pooling", "Pooling"}, {"2_" + type, type}});
  };
  EXPECT_THAT(refusal(after("Dense"), "{}"), HasSubstr("the module 'Dense' at place 2 is not supported"));
  EXPECT_THAT(refusal(after("Pooling"), "{}"), HasSubstr("'Pooling' at place 2"));
  EXPECT_THAT(refusal(modules({{"", "Transformer"}, {"1_Normalize", "Normalize"}}), "{}"), HasSubstr("place 1"));
  for (const char* path : {"..", "../1_Pooling", "/etc", "", "a\\b", ".hidden"})
    EXPECT_THAT(refusal(modules({{"", "Transformer"}, {path, "Pooling"}}), "{}"), HasSubstr("no folder's name"));
  for (const char* list : {"{}", "[]", "[5]", R"([{"type": 5}])", R"([{"type": "Pooling"}])", "5", "[", "null"})
    EXPECT_THAT(refusal(list, "{}"), HasSubstr("modules.json")) << list;
}

TEST(EmbeddingFormOfGguf, IsItsPoolingType) {
  const TemporaryFolder folder;
  const auto form = [&](const std::function<void(GgufMaker&)>& add) {
    GgufMaker maker;
    maker.text("general.architecture", "qwen3").f32_tensor("token_embd.weight", {4, 4});
    add(maker);
    return read_embedding_form(Checkpoint::open(folder.write("model.gguf", maker.build())));
  };
  const auto of_type = [&](int type) { return form([&](GgufMaker& m) { m.i32("qwen3.pooling_type", type); }); };
  EXPECT_EQ(of_type(1).pooling, Pooling::mean);
  EXPECT_EQ(of_type(2).pooling, Pooling::first);
  EXPECT_EQ(of_type(3).pooling, Pooling::last);
  EXPECT_TRUE(of_type(1).normalized);
  EXPECT_THAT(of_type(1).said_by, HasSubstr("qwen3.pooling_type"));
  for (const EmbeddingForm& unsaid : {of_type(0), of_type(-1), form([](GgufMaker&) {}),
                                      form([](GgufMaker& m) { m.u32("llama.pooling_type", 1); })}) {
    EXPECT_EQ(unsaid.pooling, Pooling::last);
    EXPECT_EQ(unsaid.said_by, "");
    EXPECT_FALSE(unsaid.refusal);
  }
  const auto refusal = [](const EmbeddingForm& f) { return std::string(f.refusal ? f.refusal->what() : "none"); };
  EXPECT_THAT(refusal(of_type(4)), HasSubstr("ranks texts"));
  EXPECT_THAT(refusal(of_type(5)), HasSubstr("the way 5 to pool"));
  EXPECT_THAT(refusal(form([](GgufMaker& m) { m.text("qwen3.pooling_type", "mean"); })), HasSubstr("pooling_type"));
  for (const Pooling pooling : {Pooling::last, Pooling::mean, Pooling::first})
    EXPECT_EQ(of_type(static_cast<int>(gguf_pooling_type(pooling))).pooling, pooling);
}

}  // namespace
}  // namespace cachalot::testing
