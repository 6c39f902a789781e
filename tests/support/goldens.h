// The golden cases under tests/goldens: checkpoints with logits that transformers computed (tools/goldens/models.py).
#pragma once

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "formats/safetensors.h"
#include "model/family.h"
#include "model/transformer.h"
#include "ops/cpu_ops.h"

namespace cachalot::testing {

inline std::filesystem::path golden_root() { return std::filesystem::path(CACHALOT_SOURCE_DIR) / "tests/goldens"; }

// Folders FAMILY/CASE that hold a golden.safetensors, sorted.
inline std::vector<std::filesystem::path> golden_cases() {
  std::vector<std::filesystem::path> cases;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(golden_root()))
    if (entry.path().filename() == "golden.safetensors") cases.push_back(entry.path().parent_path());
  std::sort(cases.begin(), cases.end());
  return cases;
}

template <typename T>
std::vector<T> values(const SafetensorsFile& file, const std::string& name) {
  const auto* entry = file.find(name);
  if (!entry) throw std::runtime_error("golden has no tensor " + name);
  std::vector<T> v(entry->bytes.size() / sizeof(T));
  std::memcpy(v.data(), entry->bytes.data(), v.size() * sizeof(T));
  return v;
}

// A checkpoint loaded for a test: no tokenizer, no memory plan.
struct TestModel {
  CpuOps ops;
  Transformer transformer;

  TestModel(const std::filesystem::path& path, const KernelTable& kernels, DType weights = DType::f32,
            int threads = 1)
      : ops(kernels, threads), transformer(load(path, ops, weights)) {}

  static Transformer load(const std::filesystem::path& path, Ops& ops, DType weights) {
    const Checkpoint checkpoint = Checkpoint::open(path);
    const Family& family = family_of(checkpoint.config());
    ModelSpec spec = family.spec(checkpoint.config());
    keep_stored_mtp(family, checkpoint, spec);
    return {spec, load_weights(family, spec, checkpoint, {.fixed = weights}, ops, [](int64_t, int64_t) {})};
  }
};

}  // namespace cachalot::testing
