// Inverse frequencies at the sizes of released models, bit for bit as transformers computes them, but for the few
// indices where torch's vectorised pow is not the correctly rounded one; these are listed in the golden and differ by
// one ulp.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <fstream>

#include "base/error.h"
#include "support/goldens.h"

namespace cachalot::testing {

TEST(RopeTables, AreTheReferencesAtReleasedSizes) {
  const auto golden = SafetensorsFile::parse(MappedFile(golden_root() / "rope/tables.safetensors"));
  const auto tables = nlohmann::json::parse(golden.metadata().at("tables"));
  const auto exceptions = nlohmann::json::parse(golden.metadata().at("exceptions"));
  ASSERT_GE(tables.size(), 10u);
  for (const auto& [name, table] : tables.items()) {
    SCOPED_TRACE(name);
    const Config config({{"rope_parameters", table["rope_parameters"]},
                         {"max_position_embeddings", table["max_position_embeddings"]}},
                        name);
    const RopeSpec rope = rope_spec(config, table["head_dim"].get<int>(), RopePairing::halves);
    EXPECT_EQ(static_cast<float>(rope.attention_factor), table["attention_scaling"].get<float>());
    const auto got = inverse_frequencies(rope, table["length"].get<int>());
    const auto want = values<float>(golden, name);
    ASSERT_EQ(got.size(), want.size());
    const auto listed = exceptions[name].get<std::vector<size_t>>();
    for (size_t i = 0; i < want.size(); ++i) {
      const bool exception = std::find(listed.begin(), listed.end(), i) != listed.end();
      if (exception)
        EXPECT_EQ(std::nextafter(got[i], want[i]), want[i]) << "index " << i << " is off by more than one ulp";
      else
        EXPECT_EQ(got[i], want[i]) << "index " << i;
    }
  }
}

// Every place and spelling of the keys, as transformers reads them.
TEST(RopeTables, AreTheReferencesInAllSpellingsOfAConfig) {
  const auto golden = nlohmann::json::parse(std::ifstream(golden_root() / "rope/variants.json"));
  EXPECT_GT(golden["variants"].size(), 150u);
  for (const auto& variant : golden["variants"]) {
    nlohmann::json raw = variant["config"];
    raw["model_type"] = variant["family"];
    SCOPED_TRACE(raw.dump());
    const Config config(raw, "config.json");
    if (variant.contains("refused")) {
      EXPECT_THROW(family_of(config).spec(config), Error) << variant["refused"];
      continue;
    }
    const LayerSpec layer = family_of(config).spec(config).layers[0];
    std::vector<int32_t> bits;
    for (const float f : inverse_frequencies(layer.rope(), variant["length"].get<int>()))
      bits.push_back(std::bit_cast<int32_t>(f));
    EXPECT_EQ(bits, variant["inv_freq"].get<std::vector<int32_t>>());
    EXPECT_DOUBLE_EQ(layer.rope().attention_factor, variant["attention_scaling"].get<double>());
    if (variant.contains("softmax_scale")) {
      EXPECT_DOUBLE_EQ(std::get<MlaSpec>(layer.attention).softmax_scale, variant["softmax_scale"].get<double>());
    }
  }
}

TEST(RopeTables, YarnsAttentionFactorFollowsItsDefinition) {
  EXPECT_NEAR(yarn_attention_factor(4, std::nullopt, std::nullopt), 1.138629, 1e-6);
  EXPECT_EQ(yarn_attention_factor(40, 0.707, 0.707), 1);
  EXPECT_EQ(yarn_attention_factor(1, std::nullopt, std::nullopt), 1);
}

}  // namespace cachalot::testing
