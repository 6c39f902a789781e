// The golden cases under tests/goldens: checkpoints with logits that transformers computed (tools/goldens/models.py).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "formats/safetensors/file.h"
#include "model/gguf_config.h"
#include "model/transformer.h"
#include "ops/cpu/cpu_ops.h"

namespace cachalot::testing {

inline std::filesystem::path golden_root() { return std::filesystem::path(CACHALOT_SOURCE_DIR) / "tests/goldens"; }

// Folders FAMILY/CASE that hold a checkpoint and a golden.safetensors, sorted.
inline std::vector<std::filesystem::path> golden_cases() {
  std::vector<std::filesystem::path> cases;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(golden_root()))
    if (entry.path().filename() == "golden.safetensors" &&
        std::filesystem::exists(entry.path().parent_path() / "config.json"))
      cases.push_back(entry.path().parent_path());
  std::sort(cases.begin(), cases.end());
  return cases;
}

template <typename T>
std::vector<T> values(const SafetensorsFile& file, const std::string& name) {
  const auto* entry = file.find(name);
  if (!entry) throw std::runtime_error("golden has no tensor " + name);
  std::vector<T> v(entry->bytes.size() / sizeof(T));
  if (!v.empty()) std::memcpy(v.data(), entry->bytes.data(), v.size() * sizeof(T));
  return v;
}

// One forward pass of the reference.
struct GoldenSequence {
  std::vector<int32_t> tokens;
  int declared;  // so many tokens came at once, the others one by one
  std::vector<int32_t> rows;
  std::vector<float> logits;  // of those rows, [rows, W]
  std::vector<float> inv_freq;
  std::vector<int32_t> mtp_rows;  // empty where the model has no module, or too few tokens
  std::vector<float> mtp_logits;

  int length() const { return static_cast<int>(tokens.size()); }
  size_t vocab() const { return logits.size() / rows.size(); }
};

// The golden.safetensors of a case (tools/goldens/README.md). Throws when the file has a tensor that is not taken.
struct Golden {
  double tolerance;
  float attention_scaling;
  std::vector<GoldenSequence> sequences;

  static Golden read(const std::filesystem::path& folder) {
    const auto file = SafetensorsFile::parse(MappedFile(folder / "golden.safetensors"));
    Golden g{.tolerance = std::stod(file.metadata().at("tolerance")),
             .attention_scaling = values<float>(file, "attention_scaling").at(0),
             .sequences = {}};
    const auto declared = file.metadata().find("declared");
    const auto lengths =
        declared == file.metadata().end() ? nlohmann::json() : nlohmann::json::parse(declared->second);
    size_t taken = 1;
    for (int s = 0; s < std::stoi(file.metadata().at("sequences")); ++s) {
      const auto n = "." + std::to_string(s);
      GoldenSequence& q = g.sequences.emplace_back();
      q.tokens = values<int32_t>(file, "tokens" + n);
      q.declared = lengths.is_null() ? q.length() : lengths.at(static_cast<size_t>(s)).get<int>();
      q.rows = values<int32_t>(file, "rows" + n);
      q.logits = values<float>(file, "logits" + n);
      q.inv_freq = values<float>(file, "inv_freq" + n);
      taken += 4;
      if (!file.find("mtp_rows" + n)) continue;
      q.mtp_rows = values<int32_t>(file, "mtp_rows" + n);
      q.mtp_logits = values<float>(file, "mtp_logits" + n);
      taken += 2;
    }
    if (taken != file.tensors().size())
      throw std::runtime_error(folder.string() + ": tensors of golden.safetensors are left unread");
    return g;
  }
};

// How far logits [rows, W] are from the reference's.
struct Difference {
  double largest = 0;
  int wrong_argmax = 0;  // rows whose best token differs although the reference's margin exceeds twice the tolerance
};

inline Difference compare(const std::vector<float>& got, const std::vector<float>& want, size_t vocab,
                          double tolerance) {
  if (got.size() != want.size()) return {INFINITY, 0};
  Difference d;
  for (size_t row = 0; row < want.size(); row += vocab) {
    const float *g = got.data() + row, *w = want.data() + row;
    for (size_t i = 0; i < vocab; ++i) {
      const double delta = std::abs(static_cast<double>(g[i]) - w[i]);
      d.largest = std::isnan(delta) ? INFINITY : std::max(d.largest, delta);
    }
    std::vector<float> best(w, w + vocab);
    std::nth_element(best.begin(), best.begin() + 1, best.end(), std::greater<>());
    const bool clear = best[0] - best[1] > 2 * tolerance;
    if (clear && std::max_element(w, w + vocab) - w != std::max_element(g, g + vocab) - g) ++d.wrong_argmax;
  }
  return d;
}

// The case of a folder as part of a test's name: "deepseek_v3_plain".
inline std::string case_name(const std::filesystem::path& folder) {
  return folder.parent_path().filename().string() + "_" + folder.filename().string();
}

// A checkpoint loaded for a test: no tokenizer, no memory plan.
struct TestModel {
  CpuOps ops;
  Transformer transformer;

  // weights: none = as the checkpoint holds them.
  TestModel(const std::filesystem::path& path, const KernelTable& kernels, std::optional<DType> weights = DType::f32,
            int threads = 1, bool mtp = true, Families families = all_families())
      : ops(kernels, threads), transformer(load(path, ops, weights, mtp, families)) {}

  static Transformer load(const std::filesystem::path& path, Ops& ops, std::optional<DType> weights, bool mtp,
                          Families families = all_families()) {
    const Checkpoint checkpoint = Checkpoint::open(path);
    const Config config = model_config(checkpoint, families);
    const Family& family = family_of(config, families);
    ModelSpec spec = family.spec(config);
    keep_stored(family, checkpoint, spec);
    if (!mtp) spec.mtp.clear();
    return {spec, load_weights(family, spec, checkpoint, {.fixed = weights}, ops, [](int64_t, int64_t) {})};
  }
};

}  // namespace cachalot::testing
