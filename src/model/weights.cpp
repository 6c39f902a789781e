#include "model/weights.h"

#include <fmt/ranges.h>

#include <set>

#include "base/error.h"

namespace cachalot {

DType WeightsPolicy::held_as(DType stored) const {
  if (fixed) return *fixed;
  return stored == DType::f32 ? DType::f32 : DType::bf16;
}

namespace {

bool matches(std::string_view pattern, std::string_view name) {
  const auto star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == name;
  const auto head = pattern.substr(0, star), tail = pattern.substr(star + 1);
  return name.size() >= head.size() + tail.size() && name.starts_with(head) && name.ends_with(tail);
}

// Walks the parameters of a spec, finds each in the checkpoint and hands it to `load`. The walk is the one place that
// knows which parameters a spec has; binding and loading are the same walk with another `load`.
class Binder {
 public:
  using Load = std::function<Weight(const BoundTensor&)>;
  Binder(const Family& family, const Checkpoint& checkpoint, const WeightsPolicy& policy, Load load)
      : family_(family), checkpoint_(checkpoint), policy_(policy), load_(std::move(load)) {}

  ModelWeights bind(const ModelSpec& spec) {
    ModelWeights m;
    m.embed_WD = take("embed", ".weight", {spec.vocab, spec.width});
    for (layer_ = 0; layer_ < static_cast<int>(spec.layers.size()); ++layer_)
      m.layers.push_back(bind_layer(spec, spec.layers[static_cast<size_t>(layer_)]));
    m.norm_D = take("norm", ".weight", {spec.width});
    if (!spec.tied_head) m.head_WD = take("head", ".weight", {spec.vocab, spec.width});
    check_leftovers();
    return m;
  }

 private:
  LayerWeights bind_layer(const ModelSpec& spec, const LayerSpec& layer) {
    const GqaSpec& a = layer.attention;
    const int64_t D = spec.width, U = int64_t{a.heads} * a.head_dim, kv = int64_t{a.kv_heads} * a.head_dim;
    const int64_t F = layer.ffn.hidden;
    LayerWeights w;
    w.attn_norm_D = take("attn.norm", ".weight", {D});
    w.attn.q = linear("attn.q", U, D, a.qkv_bias);
    w.attn.k = linear("attn.k", kv, D, a.qkv_bias);
    w.attn.v = linear("attn.v", kv, D, a.qkv_bias);
    if (a.qk_norm) {
      w.attn.q_norm_K = take("attn.q_norm", ".weight", {a.head_dim});
      w.attn.k_norm_K = take("attn.k_norm", ".weight", {a.head_dim});
    }
    w.attn.out = linear("attn.out", D, U, a.out_bias);
    w.ffn_norm_D = take("ffn.norm", ".weight", {D});
    w.ffn.gate = linear("ffn.gate", F, D, layer.ffn.bias);
    w.ffn.up = linear("ffn.up", F, D, layer.ffn.bias);
    w.ffn.down = linear("ffn.down", D, F, layer.ffn.bias);
    return w;
  }

  Linear linear(std::string_view slot, int64_t outputs, int64_t inputs, bool bias) {
    Linear l{.w = take(slot, ".weight", {outputs, inputs}), .bias = {}};
    if (bias) l.bias = take(slot, ".bias", {outputs});
    return l;
  }

  Weight take(std::string_view slot, std::string_view suffix, std::vector<int64_t> shape) {
    const std::string name = stored_name(slot) + std::string(suffix);
    const StoredTensor* stored = checkpoint_.find(name);
    if (!stored)
      throw Error(fmt::format("tensor '{}' is missing", name))
          .in(checkpoint_.path().string())
          .because(fmt::format("a model of family '{}' with this config needs it, of shape [{}]", family_.name,
                               fmt::join(shape, ", ")))
          .hint("the download may be incomplete; compare with `cachalot inspect --tensors`");
    if (stored->shape != shape)
      throw Error(fmt::format("tensor '{}' has shape [{}], but [{}] was expected", name,
                              fmt::join(stored->shape, ", "), fmt::join(shape, ", ")))
          .in(stored->file ? stored->file->path().string() : checkpoint_.path().string())
          .because(fmt::format("{} says so", checkpoint_.config().where()))
          .hint("the config and the weights look like two different models; compare them with `cachalot inspect`");
    used_.insert(name);
    return load_({stored, std::move(shape), stored->shape.size() == 1 ? DType::f32 : policy_.held_as(stored->dtype)});
  }

  std::string stored_name(std::string_view slot) const {
    for (const SlotName& s : family_.weights) {
      if (s.slot != slot) continue;
      std::string name(checkpoint_.container() == Container::gguf ? s.gguf : s.safetensors);
      if (const auto at = name.find("{}"); at != std::string::npos) name.replace(at, 2, std::to_string(layer_));
      return name;
    }
    CHECK(false, "family {} has no slot {}", family_.name, slot);
  }

  void check_leftovers() const {
    std::vector<std::string> unknown;
    for (const StoredTensor& tensor : checkpoint_.tensors()) {
      if (used_.contains(tensor.name)) continue;
      const bool ignored = std::any_of(family_.ignored.begin(), family_.ignored.end(),
                                       [&](const IgnoredTensor& i) { return matches(i.pattern, tensor.name); });
      if (!ignored) unknown.push_back(tensor.name);
    }
    if (unknown.empty()) return;
    const std::string more = unknown.size() > 3 ? fmt::format(" and {} more", unknown.size() - 3) : "";
    throw Error(
        fmt::format("tensors that the model does not use: {}{}",
                    fmt::join(unknown.begin(), unknown.begin() + std::min<ptrdiff_t>(3, std::ssize(unknown)), ", "),
                    more))
        .in(checkpoint_.path().string())
        .because(
            fmt::format("family '{}' has no place for them, so its result would not be the model's", family_.name))
        .hint("the config and the weights may be of different models; see `cachalot inspect --tensors`");
  }

  const Family& family_;
  const Checkpoint& checkpoint_;
  const WeightsPolicy& policy_;
  Load load_;
  int layer_ = 0;
  std::set<std::string> used_;
};

}  // namespace

std::vector<BoundTensor> bind_tensors(const Family& family, const ModelSpec& spec, const Checkpoint& checkpoint,
                                      const WeightsPolicy& policy) {
  std::vector<BoundTensor> bound;
  Binder(family, checkpoint, policy, [&](const BoundTensor& tensor) {
    bound.push_back(tensor);
    return Weight{};
  }).bind(spec);
  return bound;
}

ModelWeights load_weights(const Family& family, const ModelSpec& spec, const Checkpoint& checkpoint,
                          const WeightsPolicy& policy, Ops& ops,
                          const std::function<void(int64_t, int64_t)>& progress) {
  int64_t total_bytes = 0, done_bytes = 0;
  for (const BoundTensor& tensor : bind_tensors(family, spec, checkpoint, policy))
    total_bytes += static_cast<int64_t>(tensor.stored->bytes.size());
  return Binder(family, checkpoint, policy,
                [&](const BoundTensor& tensor) {
                  Weight weight = tensor.shape.size() == 1
                                      ? ops.load_vector(*tensor.stored)
                                      : ops.load_matrix({.stored = *tensor.stored}, tensor.held_as);
                  checkpoint.release(*tensor.stored);
                  done_bytes += static_cast<int64_t>(tensor.stored->bytes.size());
                  progress(done_bytes, total_bytes);
                  return weight;
                })
      .bind(spec);
}

}  // namespace cachalot
