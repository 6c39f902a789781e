// docs/adding-a-model.md followed: a family that the program does not have, all of it between the two lines below,
// runs from both containers. What it has of its own: names of tensors, a fact that no other family has in GGUF, rows
// that alternate there, biases that the file says by its tensors.
#include <gmock/gmock.h>

#include "convert/quantize.h"
#include "engine/scoring.h"
#include "formats/gguf/file.h"
#include "formats/made_files.h"
#include "formats/safetensors/writer.h"
#include "model/parameters.h"
#include "model/recipe.h"
#include "model/row_order.h"
#include "support/goldens.h"
#include "support/kernels.h"

namespace cachalot::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// ---------------------------------------------------------------------------------------------------------------------

ModelSpec duet_spec(const Config& config) {
  const Config c = config.with_defaults({{"attention_bias", false}, {"rms_norm_eps", 1e-5}});
  ModelSpec m = dense_decoder_spec(
      c, {.qkv_bias = c.boolean_or("attention_bias", false), .rope = {.pairing = RopePairing::halves}});
  for (LayerSpec& layer : m.layers)
    std::get<GqaSpec>(layer.attention).logn = {LogNSpec::Form::released, c.integer("short_texts", 2)};
  return m;
}

const Family kDuet = {.name = "duet",
                      .hf_classes = {"DuetForCausalLM"},
                      .spec = duet_spec,
                      .weights =
                          {// slot       safetensors            GGUF
                           {"embed", "voices.embedding", "token_embd"},
                           {"attn.norm", "voices.{}.before", "blk.{}.attn_norm"},
                           {"attn.q", "voices.{}.asks", "blk.{}.attn_q"},
                           {"attn.k", "voices.{}.offers", "blk.{}.attn_k"},
                           {"attn.v", "voices.{}.tells", "blk.{}.attn_v"},
                           {"attn.out", "voices.{}.says", "blk.{}.attn_output"},
                           {"ffn.norm", "voices.{}.between", "blk.{}.ffn_norm"},
                           {"ffn.gate", "voices.{}.gate", "blk.{}.ffn_gate"},
                           {"ffn.up", "voices.{}.up", "blk.{}.ffn_up"},
                           {"ffn.down", "voices.{}.down", "blk.{}.ffn_down"},
                           {"norm", "after", "output_norm"},
                           {"head", "head", "output"}},
                      .ignored = {{"rehearsal", "of the training"}},
                      .gguf = {.architecture = "duet",
                               .keys = decoder_keys({{{"short_texts",
                                                       "attention.short_texts",
                                                       [](const GqaSpec& a) { return a.logn.trained_tokens; },
                                                       {.min = 2}}},
                                                     gqa_keys()}),
                               .biases = {{"attention_bias", "attn.q"}},
                               .complete = complete_gqa,
                               .interleaved = {"attn.q", "attn.k"},
                               .usual_pre_tokenizer = "tekken"}};

// ---------------------------------------------------------------------------------------------------------------------

const std::vector<const Family*> kFamilies = {&kDuet};

constexpr const char* kConfig = R"({
  "architectures": ["DuetForCausalLM"], "model_type": "duet", "hidden_size": 64, "num_hidden_layers": 2,
  "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 96, "vocab_size": 40,
  "max_position_embeddings": 128, "rope_theta": 5000, "rms_norm_eps": 1e-6, "attention_bias": true, "short_texts": 4,
  "rope_scaling": {"rope_type": "linear", "factor": 2}, "tie_word_embeddings": false})";

// A folder with random weights under the family's names, and one that the model does not use.
void make_checkpoint(const fs::path& folder) {
  std::ofstream(folder / "config.json") << kConfig;
  const ModelSpec spec = duet_spec(Config::read(folder / "config.json"));
  std::vector<SafetensorsWriter::Entry> entries = {{"rehearsal", DType::f32, {1}}};
  for (const Parameter& p : parameters_of(spec))
    for (const SlotName& slot : kDuet.weights) {
      if (slot.slot != p.slot) continue;
      std::string name(slot.safetensors);
      if (const auto at = name.find("{}"); at != name.npos) name.replace(at, 2, std::to_string(p.layer));
      entries.push_back({name + std::string(p.suffix), DType::f32, p.shape()});
    }
  SafetensorsWriter writer(folder / "model.safetensors", entries);
  for (size_t i = 0; i < entries.size(); ++i) {
    int64_t numbers = 1;
    for (const int64_t size : entries[i].shape) numbers *= size;
    auto values = random_normal(numbers, static_cast<int>(i));
    for (float& value : values) value *= 0.2f;
    writer.append(values);
  }
  writer.finish();
}

class NewFamily : public ::testing::Test {
 protected:
  NewFamily() {
    make_checkpoint(made_.path());
    ::testing::internal::CaptureStderr();  // there is no tokenizer, it says
    write("f32");
  }
  ~NewFamily() override { ::testing::internal::GetCapturedStderr(); }

  fs::path folder() const { return made_.path(); }
  fs::path file(const std::string& type = "f32") const { return made_.path() / (type + ".gguf"); }
  void write(const std::string& type) const {
    quantize_checkpoint(Checkpoint::open(folder()), file(type),
                        {.recipe = recipe_named(type), .families = kFamilies});
  }

 private:
  TemporaryFolder made_;
};

std::vector<float> logits_of(const fs::path& path, DType weights) {
  TestModel model(path, best_kernels(), weights, 1, true, kFamilies);
  std::vector<float> logits;
  score(model.ops, model.transformer, std::vector<int32_t>{3, 1, 4, 1, 5, 9, 2, 6}, {.kv = DType::f32},
        [&](int, std::span<const float> row) { logits.insert(logits.end(), row.begin(), row.end()); });
  return logits;
}

TEST_F(NewFamily, GivesTheSameLogitsFromBothContainersBitForBit) {
  const auto want = logits_of(folder(), DType::f32);
  ASSERT_EQ(want.size(), 8u * 40);
  EXPECT_EQ(logits_of(file(), DType::f32), want);
  write("q8_0");
  EXPECT_EQ(logits_of(file("q8_0"), DType::q8_0), logits_of(folder(), DType::q8_0));
}

TEST_F(NewFamily, HasTheSameConfigFromBothContainers) {
  const Config config = model_config(Checkpoint::open(folder()), kFamilies),
               back = model_config(Checkpoint::open(file()), kFamilies);
  for (const auto& [key, value] : config.json().items()) EXPECT_EQ(back.json()[key], value) << key;
  EXPECT_EQ(&family_of(back, kFamilies), &kDuet);
}

TEST_F(NewFamily, HasItsRowsInTheOrderOfTheFormatAndItsFactUnderTheNameThatItStates) {
  const Checkpoint from = Checkpoint::open(folder()), to = Checkpoint::open(file());
  EXPECT_EQ(to.gguf()->integer("duet.attention.short_texts"), 4);
  EXPECT_EQ(to.gguf()->text("general.architecture"), "duet");
  for (const auto& [name, hf_name, heads] : {std::tuple("blk.1.attn_q.weight", "voices.1.asks.weight", 4),
                                             {"blk.1.attn_k.weight", "voices.1.offers.weight", 2}}) {
    const StoredTensor &file = *to.find(name), &model = *from.find(hf_name);
    for (int64_t r = 0; r < file.rows(); ++r)
      EXPECT_TRUE(std::ranges::equal(file.row(r), model.row(model_row(r, file.rows(), heads)))) << name << " " << r;
  }
  EXPECT_TRUE(std::ranges::equal(to.find("blk.1.attn_v.weight")->bytes, from.find("voices.1.tells.weight")->bytes));
}

TEST_F(NewFamily, IsWrittenAnewFromItsOwnFile) {
  quantize_checkpoint(Checkpoint::open(file()), file("again"),
                      {.recipe = recipe_named("f32"), .families = kFamilies});
  const Checkpoint once = Checkpoint::open(file()), again = Checkpoint::open(file("again"));
  ASSERT_EQ(once.tensors().size(), again.tensors().size());
  for (const StoredTensor& tensor : once.tensors())
    EXPECT_TRUE(std::ranges::equal(tensor.bytes, again.find(tensor.name)->bytes)) << tensor.name;
}

TEST_F(NewFamily, StatesWhatItsFilesAreReadWith) {
  EXPECT_EQ(usual_pre_tokenizer("duet", kFamilies), "tekken");
  EXPECT_EQ(usual_pre_tokenizer("llama", kFamilies), "gpt-2") << "of no family here";
}

TEST_F(NewFamily, IsKnownOnlyWhereItIsListed) {
  for (const fs::path& path : {folder(), file()}) {
    const Config config = model_config(Checkpoint::open(path));
    EXPECT_EQ(find_family(config), nullptr);
    EXPECT_THAT(message_of([&] { family_of(config); }),
                HasSubstr(path == folder() ? "'DuetForCausalLM' are not supported" : "'duet' are not supported"));
  }
}

}  // namespace
}  // namespace cachalot::testing
