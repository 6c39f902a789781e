// Recommended sampling: what transformers and llama.cpp take, and what they refuse or cannot be followed.
#include "load/sampling_defaults.h"

#include <gmock/gmock.h>

#include "formats/made_files.h"
#include "support/goldens.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

auto about(const char* parameter, const char* message) {
  return AllOf(Field(&UnusableDefault::parameter, parameter), Field(&UnusableDefault::message, HasSubstr(message)));
}

SamplingDefaults of_json(const std::string& text) {
  const TemporaryFolder folder;
  for (const char* file : {"config.json", "model.safetensors"})
    fs::copy_file(testing::golden_root() / "qwen2/plain" / file, folder.path() / file);
  folder.write("generation_config.json", text);
  return read_sampling_defaults(Checkpoint::open(folder.path()));
}

SamplingDefaults of_gguf(GgufMaker maker) {
  const TemporaryFolder folder;
  maker.text("general.architecture", "unheard-of").f32_tensor("x", {32, 1});
  return read_sampling_defaults(Checkpoint::open(folder.write("a.gguf", maker.build())));
}

TEST(SamplingDefaults, AreThoseOfTheFile) {
  const auto d = of_json(R"({"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.05,
                             "repetition_penalty": 1.05, "max_new_tokens": 512})");
  EXPECT_EQ(d.params.temperature, 0.6);
  EXPECT_EQ(d.params.top_k, 20);
  EXPECT_EQ(d.params.top_p, 0.95);
  EXPECT_EQ(d.params.min_p, 0.05);
  EXPECT_EQ(d.params.repeat_penalty, 1.05);
  EXPECT_EQ(d.max_tokens, 512);
  EXPECT_THAT(d.unusable, IsEmpty());
}

TEST(SamplingDefaults, WithoutSamplingTheTemperatureIsZeroAndWhatIsSaidOfItDoesNotMatter) {
  for (const char* text :
       {R"({"do_sample": false, "temperature": -1})", R"({"temperature": "hot"})", "{}", R"({"do_sample": null})"}) {
    const auto d = of_json(text);
    EXPECT_EQ(d.params.temperature, 0) << text;
    EXPECT_THAT(d.unusable, IsEmpty()) << text;
  }
}

// transformers takes null as absent, top_k 0 as off and top_p 0 as the likeliest alone; the rest it refuses when it
// generates, all but top_p above 1, which it takes as off.
TEST(SamplingDefaults, NullAndWhatTransformersTakesIsUsable) {
  const auto d = of_json(R"({"do_sample": true, "temperature": null, "top_k": 0, "top_p": 0, "min_p": null,
                             "repetition_penalty": null, "max_new_tokens": null})");
  EXPECT_EQ(d.params.temperature, 1);
  EXPECT_EQ(d.params.top_k, 0);
  EXPECT_EQ(d.params.top_p, 0);
  EXPECT_EQ(d.params.repeat_penalty, 1);
  EXPECT_THAT(d.unusable, IsEmpty());
}

TEST(SamplingDefaults, WhatCannotBeUsedIsReplacedAndSaidWithFileAndKey) {
  const auto d = of_json(R"({"do_sample": true, "temperature": -0.5, "top_k": -1, "top_p": 1.5, "min_p": "0.1",
                             "repetition_penalty": 0, "max_new_tokens": -1})");
  EXPECT_EQ(d.params.temperature, 1);
  EXPECT_EQ(d.params.top_k, 0);
  EXPECT_EQ(d.params.top_p, 1);
  EXPECT_EQ(d.params.min_p, 0);
  EXPECT_EQ(d.params.repeat_penalty, 1);
  EXPECT_EQ(d.max_tokens, std::nullopt);
  EXPECT_THAT(d.unusable,
              ElementsAre(about("temperature", "generation_config.json: temperature = -0.5"),
                          about("top_k", "top_k = -1"), about("top_p", "top_p = 1.5"),
                          about("min_p", "min_p = \"0.1\""), about("repeat_penalty", "repetition_penalty = 0")));
  EXPECT_THAT(of_json(R"({"do_sample": "yes", "top_k": 2.5})").unusable,
              ElementsAre(about("top_k", "2.5"), about("temperature", "do_sample = \"yes\"")));
  EXPECT_THAT(of_json("{").unusable, ElementsAre(about("", "generation_config.json")));
  EXPECT_THAT(of_json("[]").unusable, ElementsAre(about("", "generation_config.json")));
}

// The values that switch them off are those of transformers 5.24, in
// GenerationConfig()._get_default_generation_params().
TEST(SamplingDefaults, WhatOnlyTransformersDoesIsSaid) {
  EXPECT_THAT(of_json(R"({"do_sample": true, "num_beams": 4, "min_new_tokens": 5, "typical_p": 0.5,
                          "suppress_tokens": [22], "stop_strings": ["13"]})")
                  .unusable,
              ElementsAre(about("", "num_beams = 4 is not followed"), about("", "min_new_tokens = 5"),
                          about("", "suppress_tokens = [22]"), about("", "stop_strings = [\"13\"]"),
                          about("", "typical_p = 0.5")));
  EXPECT_THAT(of_json(R"({"typical_p": 0.5})").unusable, IsEmpty()) << "no part of a greedy choice";
  EXPECT_THAT(of_json(R"({"do_sample": true, "num_beams": 1, "num_beam_groups": 1, "num_return_sequences": 1,
                          "min_length": 0, "no_repeat_ngram_size": 0, "encoder_repetition_penalty": 1.0,
                          "exponential_decay_length_penalty": null, "bad_words_ids": null, "suppress_tokens": null,
                          "forced_eos_token_id": null, "typical_p": 1.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0})")
                  .unusable,
              IsEmpty());
}

TEST(SamplingDefaults, GgufStatesThemInKeysOfItsOwn) {
  const auto d = of_gguf(GgufMaker()
                             .f32("general.sampling.temp", 0.6f)
                             .key("general.sampling.top_k", I32, raw<int32_t>(20))
                             .f32("general.sampling.top_p", 0.95f)
                             .f32("general.sampling.min_p", 0)
                             .f32("general.sampling.penalty_repeat", 1.1f));
  EXPECT_EQ(d.params.temperature, 0.6) << "the decimal that was meant";
  EXPECT_EQ(d.params.top_k, 20);
  EXPECT_EQ(d.params.top_p, 0.95);
  EXPECT_EQ(d.params.repeat_penalty, 1.1);
  EXPECT_THAT(d.unusable, IsEmpty());
  EXPECT_EQ(of_gguf(GgufMaker()).params.temperature, 1);
}

// llama.cpp: a temperature of 0 or less is greedy, top_k of 0 or less is off, penalty_last_n 0 switches the penalty
// off.
TEST(SamplingDefaults, GgufsAreReadAsLlamaCppReadsThem) {
  const auto off = of_gguf(GgufMaker()
                               .f32("general.sampling.temp", -1)
                               .key("general.sampling.top_k", I32, raw<int32_t>(-1))
                               .f32("general.sampling.penalty_repeat", 1.1f)
                               .key("general.sampling.penalty_last_n", I32, raw<int32_t>(0)));
  EXPECT_EQ(off.params.temperature, 0);
  EXPECT_EQ(off.params.top_k, 0);
  EXPECT_EQ(off.params.repeat_penalty, 1);
  EXPECT_THAT(off.unusable, IsEmpty());
  const auto other = of_gguf(GgufMaker()
                                 .f32("general.sampling.penalty_repeat", 1.1f)
                                 .key("general.sampling.penalty_last_n", I32, raw<int32_t>(64))
                                 .key("general.sampling.mirostat", I32, raw<int32_t>(2))
                                 .f32("general.sampling.xtc_probability", 0)
                                 .text("general.sampling.top_k", "many"));
  EXPECT_THAT(other.unusable, ElementsAre(about("top_k", "general.sampling.top_k"),
                                          about("repeat_penalty", "last_n = 64"), about("", "mirostat = 2")));
}

}  // namespace
}  // namespace cachalot
