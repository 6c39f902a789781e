#include "model/weights.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "base/error.h"

namespace cachalot {

DType WeightsPolicy::held_as(DType stored) const {
  if (fixed) return *fixed;
  return stored == DType::f32 ? DType::f32 : DType::bf16;
}

int64_t BoundTensor::stored_bytes() const {
  int64_t bytes = 0;
  for (const MatrixPart& part : parts) bytes += static_cast<int64_t>(part.stored.bytes.size());
  return bytes;
}

int64_t BoundTensor::elements() const {
  int64_t elements = 0;
  for (const MatrixPart& part : parts) elements += part.stored.elements();
  return elements;
}

int64_t BoundTensor::held_bytes(const Ops& ops) const {
  if (vectors) return 4 * elements();
  return std::ssize(parts) * ops.matrix_bytes(parts[0].rows(), parts[0].columns(), held_as);
}

namespace {

bool matches(std::string_view pattern, std::string_view name) {
  const auto star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == name;
  const auto head = pattern.substr(0, star), tail = pattern.substr(star + 1);
  return name.size() >= head.size() + tail.size() && name.starts_with(head) && name.ends_with(tail);
}

void replace(std::string& text, std::string_view what, int64_t number) {
  if (const auto at = text.find(what); at != text.npos) text.replace(at, what.size(), std::to_string(number));
}

// Walks the parameters of a spec, finds each in the checkpoint and hands it to `load`. The walk is the one place that
// knows which parameters a spec has and in which arrangements checkpoints store them; binding and loading are the
// same walk with another `load`.
class Binder {
 public:
  using Load = std::function<Weight(const BoundTensor&)>;
  Binder(const Family& family, const Checkpoint& checkpoint, const WeightsPolicy& policy, Load load)
      : family_(family), checkpoint_(checkpoint), policy_(policy), load_(std::move(load)) {}

  ModelWeights bind(const ModelSpec& spec) {
    width_ = spec.width;
    ModelWeights m;
    m.embed_WD = matrix("embed", spec.vocab, width_);
    if (spec.learned_positions > 0) m.positions = matrix("positions", spec.learned_positions, width_);
    for (const LayerSpec& layer : spec.layers) {
      m.layers.push_back(bind_layer(layer));
      ++layer_;
    }
    for (const LayerSpec& layer : spec.mtp) {
      m.mtp.push_back(bind_mtp(layer));
      ++layer_;
    }
    m.norm_D = vector("norm", width_);
    if (!spec.tied_head) m.head_WD = matrix("head", spec.vocab, width_);
    if (spec.head_bias) m.head_bias_W = vector("head", spec.vocab, ".bias");
    check_leftovers(spec);
    return m;
  }

  // Whether the checkpoint has the tensor of a slot in layer `layer`.
  bool has(std::string_view slot, int layer) {
    layer_ = layer;
    return find(slot) != nullptr;
  }

 private:
  // -- Blocks

  LayerWeights bind_layer(const LayerSpec& layer) {
    LayerWeights w;
    w.attn_norm_D = vector("attn.norm", width_);
    if (layer.gqa())
      w.attention = bind_gqa(*layer.gqa());
    else
      w.attention = bind_mla(*layer.mla());
    w.ffn_norm_D = vector("ffn.norm", width_);
    if (layer.dense())
      w.ffn = bind_ffn("ffn", *layer.dense());
    else
      w.ffn = bind_moe(*layer.moe());
    return w;
  }

  GqaWeights bind_gqa(const GqaSpec& a) {
    const int64_t U = int64_t{a.heads} * a.head_dim, kv = int64_t{a.kv_heads} * a.head_dim;
    GqaWeights w;
    if (find("attn.qkv")) {  // one matrix: the rows of q, then of k, then of v
      w.q = fused("attn.qkv", 0, U, U + 2 * kv, a.qkv_bias);
      w.k = fused("attn.qkv", U, kv, U + 2 * kv, a.qkv_bias);
      w.v = fused("attn.qkv", U + kv, kv, U + 2 * kv, a.qkv_bias);
    } else {
      w.q = linear("attn.q", U, width_, a.qkv_bias);
      w.k = linear("attn.k", kv, width_, a.qkv_bias);
      w.v = linear("attn.v", kv, width_, a.qkv_bias);
    }
    if (a.qk_norm) {
      w.q_norm_K = vector("attn.q_norm", a.head_dim);
      w.k_norm_K = vector("attn.k_norm", a.head_dim);
    }
    if (a.compressed_dim > 0) {
      w.k_compress = matrix("attn.k_compress", a.compressed_dim, kv);
      w.v_compress = matrix("attn.v_compress", a.compressed_dim, kv);
    }
    w.out = linear("attn.out", width_, int64_t{a.heads} * a.cached_head_dim(), a.out_bias);
    return w;
  }

  MlaWeights bind_mla(const MlaSpec& a) {
    const int64_t U = int64_t{a.heads} * (a.nope_dim + a.rope.dim), L = a.kv_rank + a.rope.dim;
    MlaWeights w;
    if (a.q_rank > 0) {
      w.q_down = linear("attn.q_down", a.q_rank, width_, a.bias);
      w.q_norm_Q = vector("attn.q_down_norm", a.q_rank);
      w.q_up = linear("attn.q_up", U, a.q_rank, false);
    } else {
      w.q = linear("attn.q", U, width_, false);
    }
    w.kv_down = linear("attn.kv_down", L, width_, a.bias);
    w.kv_norm_C = vector("attn.kv_norm", a.kv_rank);
    w.up = find("attn.kv_up") ? bind_latent_fused(a) : bind_latent_split(a);
    w.out = linear("attn.out", width_, int64_t{a.heads} * a.value_dim, a.bias);
    return w;
  }

  // One matrix [H (N + V), C]: per head the rows that make its keys, then those that make its values.
  LatentWeights bind_latent_fused(const MlaSpec& a) {
    const int64_t head_rows = a.nope_dim + a.value_dim;
    const StoredTensor& stored = required("attn.kv_up", ".weight", {a.heads * head_rows, a.kv_rank});
    BoundTensor k_up = bound("attn.kv_up", {&stored}, {a.heads, a.kv_rank, a.nope_dim}, latent_type(stored));
    BoundTensor v_up = bound("attn.kv_up", {&stored}, {a.heads, a.value_dim, a.kv_rank}, latent_type(stored));
    for (int64_t h = 0; h < a.heads; ++h) {
      const int64_t first = h * head_rows, middle = first + a.nope_dim;
      k_up.parts.push_back({stored.rows_part(first, middle), /*transposed=*/true});
      v_up.parts.push_back({stored.rows_part(middle, first + head_rows)});
    }
    return {load_(k_up), load_(v_up)};
  }

  // Two stacks: keys [H, C, N], already transposed, and values [H, V, C].
  LatentWeights bind_latent_split(const MlaSpec& a) {
    const StoredTensor& k = required("attn.k_up", ".weight", {a.heads, a.kv_rank, a.nope_dim});
    const StoredTensor& v = required("attn.v_up", ".weight", {a.heads, a.value_dim, a.kv_rank});
    return {load_(stacked("attn.k_up", k, {a.heads, a.kv_rank, a.nope_dim}, latent_type(k))),
            load_(stacked("attn.v_up", v, {a.heads, a.value_dim, a.kv_rank}, latent_type(v)))};
  }

  // The up-projections are read both ways, so they are held in a type of single numbers.
  DType latent_type(const StoredTensor& stored) const {
    return policy_.held_as(stored.dtype) == DType::f32 ? DType::f32 : DType::bf16;
  }

  FfnWeights bind_ffn(const std::string& slot, const FfnSpec& f) {
    FfnWeights w;
    if (f.form.gated) w.gate = linear(slot + ".gate", f.hidden, width_, f.bias);
    w.up = linear(slot + ".up", f.hidden, width_, f.bias);
    w.down = linear(slot + ".down", width_, f.hidden, f.bias);
    return w;
  }

  MoeWeights bind_moe(const MoeSpec& s) {
    const int64_t E = s.gate.experts, F = s.expert.hidden;
    MoeWeights w;
    w.router.w = precise_matrix("moe.router", E, width_);
    if (s.router_bias) w.router.bias = vector("moe.router", E, ".bias");
    if (s.correction_bias) w.correction_E = vector("moe.correction", E, "");
    if (s.expert.form.gated && find("experts.gate_up")) {  // one stack: per expert the rows of gate, then of up
      const StoredTensor& stored = required("experts.gate_up", ".weight", {E, 2 * F, width_});
      w.experts.gate_EFD = load_(stacked_rows("experts.gate", stored, E, 0, F));
      w.experts.up_EFD = load_(stacked_rows("experts.up", stored, E, F, 2 * F));
    } else {
      if (s.expert.form.gated) w.experts.gate_EFD = experts("experts.gate", E, F, width_);
      w.experts.up_EFD = experts("experts.up", E, F, width_);
    }
    w.experts.down_EDF = experts("experts.down", E, width_, F);
    if (s.expert.bias) {
      if (s.expert.form.gated) w.experts.gate_bias_EF = expert_vectors("experts.gate", E, F);
      w.experts.up_bias_EF = expert_vectors("experts.up", E, F);
      w.experts.down_bias_ED = expert_vectors("experts.down", E, width_);
    }
    if (s.shared.hidden > 0) w.shared = bind_ffn("shared", s.shared);
    if (s.shared_gate) w.shared_gate = precise_matrix("shared.scale", 1, width_);
    return w;
  }

  MtpWeights bind_mtp(const LayerSpec& layer) {
    MtpWeights w;
    w.embed_norm_D = vector("mtp.embed_norm", width_);
    w.hidden_norm_D = vector("mtp.hidden_norm", width_);
    w.combine = matrix("mtp.combine", width_, 2 * width_);
    w.layer = bind_layer(layer);
    w.norm_D = vector("mtp.norm", width_);
    return w;
  }

  // -- Parameters

  static BoundTensor bound(std::string_view slot, std::vector<const StoredTensor*> sources,
                           std::vector<int64_t> shape, DType held_as) {
    return {.slot = std::string(slot),
            .parts = {},
            .sources = std::move(sources),
            .shape = std::move(shape),
            .held_as = held_as,
            .vectors = false};
  }

  Linear linear(std::string_view slot, int64_t outputs, int64_t inputs, bool bias) {
    Linear l{.w = matrix(slot, outputs, inputs), .bias = {}};
    if (bias) l.bias = vector(slot, outputs, ".bias");
    return l;
  }

  // Rows [first, first + outputs) of a matrix of `all` rows.
  Linear fused(std::string_view slot, int64_t first, int64_t outputs, int64_t all, bool bias) {
    const StoredTensor& stored = required(slot, ".weight", {all, width_});
    BoundTensor rows = bound(slot, {&stored}, {outputs, width_}, policy_.held_as(stored.dtype));
    rows.parts.push_back({stored.rows_part(first, first + outputs)});
    Linear l{.w = load_(rows), .bias = {}};
    if (!bias) return l;
    const StoredTensor& stored_bias = required(slot, ".bias", {all});
    BoundTensor part = bound(slot, {&stored_bias}, {outputs}, DType::f32);
    part.vectors = true;
    part.parts.push_back({stored_bias.components(first, first + outputs)});
    l.bias = load_(part);
    return l;
  }

  Weight matrix(std::string_view slot, int64_t outputs, int64_t inputs) {
    const StoredTensor& stored = required(slot, ".weight", {outputs, inputs});
    BoundTensor b = bound(slot, {&stored}, {outputs, inputs}, policy_.held_as(stored.dtype));
    b.parts.push_back({stored});
    return load_(b);
  }

  // Held in f32 whatever the policy says. A single row may be stored as a vector.
  Weight precise_matrix(std::string_view slot, int64_t outputs, int64_t inputs) {
    const StoredTensor* vector = outputs == 1 ? find(slot) : nullptr;
    const bool flat = vector && vector->shape.size() == 1;
    const StoredTensor& stored =
        flat ? required(slot, ".weight", {inputs}) : required(slot, ".weight", {outputs, inputs});
    BoundTensor b = bound(slot, {&stored}, {outputs, inputs}, DType::f32);
    b.parts.push_back({stored});
    return load_(b);
  }

  Weight vector(std::string_view slot, int64_t size, std::string_view suffix = ".weight") {
    const StoredTensor& stored = required(slot, suffix, {size});
    BoundTensor b = bound(slot, {&stored}, {size}, DType::f32);
    b.vectors = true;
    b.parts.push_back({stored});
    return load_(b);
  }

  BoundTensor stacked(std::string_view slot, const StoredTensor& stored, std::vector<int64_t> shape, DType held_as) {
    BoundTensor b = bound(slot, {&stored}, shape, held_as);
    for (int64_t i = 0; i < shape[0]; ++i) b.parts.push_back({stored.rows_part(i * shape[1], (i + 1) * shape[1])});
    return b;
  }

  // Rows [begin, end) of every matrix of a stack.
  BoundTensor stacked_rows(std::string_view slot, const StoredTensor& stored, int64_t count, int64_t begin,
                           int64_t end) {
    const int64_t rows = stored.rows() / count;
    BoundTensor b = bound(slot, {&stored}, {count, end - begin, stored.columns()}, policy_.held_as(stored.dtype));
    for (int64_t i = 0; i < count; ++i) b.parts.push_back({stored.rows_part(i * rows + begin, i * rows + end)});
    return b;
  }

  // A stack, or one tensor per expert.
  Weight experts(std::string_view slot, int64_t count, int64_t outputs, int64_t inputs) {
    if (!per_expert(slot)) {
      const StoredTensor& stored = required(slot, ".weight", {count, outputs, inputs});
      return load_(stacked(slot, stored, {count, outputs, inputs}, policy_.held_as(stored.dtype)));
    }
    BoundTensor b = bound(slot, {}, {count, outputs, inputs}, DType::f32);
    for (expert_ = 0; expert_ < count; ++expert_) {
      b.sources.push_back(&required(slot, ".weight", {outputs, inputs}));
      b.parts.push_back({*b.sources.back()});
    }
    b.held_as = policy_.held_as(b.sources[0]->dtype);
    return load_(b);
  }

  Weight expert_vectors(std::string_view slot, int64_t count, int64_t size) {
    CHECK(per_expert(slot), "no container stores stacks of expert biases");
    BoundTensor b = bound(slot, {}, {count, size}, DType::f32);
    b.vectors = true;
    for (expert_ = 0; expert_ < count; ++expert_) {
      b.sources.push_back(&required(slot, ".bias", {size}));
      b.parts.push_back({*b.sources.back()});
    }
    return load_(b);
  }

  // -- Names

  // Whether the tensors of a slot are stored expert by expert. A family that lists a slot twice has both: the first
  // name that the checkpoint knows counts.
  bool per_expert(std::string_view slot) {
    expert_ = 0;
    const SlotName* name = listed(slot, ".weight");
    return pattern_of(name ? *name : *first_listed(slot)).find("{e}") != std::string_view::npos;
  }

  std::string_view pattern_of(const SlotName& name) const {
    return checkpoint_.container() == Container::gguf ? name.gguf : name.safetensors;
  }

  std::string stored_name(const SlotName& name) const {
    std::string text(pattern_of(name));
    replace(text, "{}", layer_);
    replace(text, "{e}", expert_);
    return text;
  }

  // A tensor named so, with the suffix or, as transformers saves its fused experts, without.
  const StoredTensor* find_named(const std::string& name, std::string_view suffix) const {
    if (const StoredTensor* stored = checkpoint_.find(name + std::string(suffix))) return stored;
    return suffix == ".weight" ? checkpoint_.find(name) : nullptr;
  }

  // The slot's name that the checkpoint has a tensor for; nullptr when none.
  const SlotName* listed(std::string_view slot, std::string_view suffix) const {
    for (const SlotName& name : family_.weights)
      if (name.slot == slot && !pattern_of(name).empty() && find_named(stored_name(name), suffix)) return &name;
    return nullptr;
  }
  const SlotName* first_listed(std::string_view slot) const {
    for (const SlotName& name : family_.weights)
      if (name.slot == slot && !pattern_of(name).empty()) return &name;
    CHECK(false, "family {} has no slot {}", family_.name, slot);
  }

  const StoredTensor* find(std::string_view slot, std::string_view suffix = ".weight") const {
    const SlotName* name = listed(slot, suffix);
    return name ? find_named(stored_name(*name), suffix) : nullptr;
  }

  const StoredTensor& required(std::string_view slot, std::string_view suffix, const std::vector<int64_t>& shape) {
    const StoredTensor* stored = find(slot, suffix);
    if (!stored)
      throw Error(fmt::format("tensor '{}{}' is missing", stored_name(*first_listed(slot)), suffix))
          .in(checkpoint_.path().string())
          .because(fmt::format("a model of family '{}' with this config needs it, of shape [{}]", family_.name,
                               fmt::join(shape, ", ")))
          .hint("the download may be incomplete; compare with `cachalot inspect --tensors`");
    if (stored->shape != shape)
      throw Error(fmt::format("tensor '{}' has shape [{}], but [{}] was expected", stored->name,
                              fmt::join(stored->shape, ", "), fmt::join(shape, ", ")))
          .in(stored->file ? stored->file->path().string() : checkpoint_.path().string())
          .because(fmt::format("{} says so", checkpoint_.config().where()))
          .hint("the config and the weights look like two different models; compare them with `cachalot inspect`");
    used_.insert(stored);
    return *stored;
  }

  // The module for the token after the next, when the run does not use it.
  bool of_unused_mtp(const StoredTensor& tensor, const ModelSpec& spec) const {
    const auto stored = static_cast<int>(spec.layers.size()) + spec.stored_mtp;
    for (int layer = layer_; layer < stored; ++layer)
      for (const std::string_view prefix : {"model.layers.", "blk."})
        if (tensor.name.starts_with(fmt::format("{}{}.", prefix, layer))) return true;
    return false;
  }

  void check_leftovers(const ModelSpec& spec) const {
    std::vector<std::string> unknown;
    for (const StoredTensor& tensor : checkpoint_.tensors()) {
      if (used_.contains(&tensor) || of_unused_mtp(tensor, spec)) continue;
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
  int64_t width_ = 0;
  int layer_ = 0;
  int64_t expert_ = 0;
  std::set<const StoredTensor*> used_;
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

void keep_stored_mtp(const Family& family, const Checkpoint& checkpoint, ModelSpec& spec) {
  const WeightsPolicy policy;
  Binder binder(family, checkpoint, policy, {});
  if (!spec.mtp.empty() && !binder.has("mtp.combine", static_cast<int>(spec.layers.size()))) spec.mtp.clear();
}

static Weight load_bound(const BoundTensor& tensor, Ops& ops) {
  if (!tensor.vectors)
    return tensor.shape.size() == 2 ? ops.load_matrix(tensor.parts[0], tensor.held_as)
                                    : ops.load_matrices(tensor.parts, tensor.held_as);
  if (tensor.shape.size() == 1) return ops.load_vector(tensor.parts[0].stored);
  std::vector<StoredTensor> parts;
  for (const MatrixPart& part : tensor.parts) parts.push_back(part.stored);
  return ops.load_vectors(parts);
}

ModelWeights load_weights(const Family& family, const ModelSpec& spec, const Checkpoint& checkpoint,
                          const WeightsPolicy& policy, Ops& ops,
                          const std::function<void(int64_t, int64_t)>& progress) {
  int64_t total_bytes = 0, done_bytes = 0;
  for (const BoundTensor& tensor : bind_tensors(family, spec, checkpoint, policy))
    total_bytes += tensor.stored_bytes();
  return Binder(family, checkpoint, policy,
                [&](const BoundTensor& tensor) {
                  Weight weight = load_bound(tensor, ops);
                  for (const StoredTensor* source : tensor.sources) checkpoint.release(*source);
                  done_bytes += tensor.stored_bytes();
                  progress(done_bytes, total_bytes);
                  return weight;
                })
      .bind(spec);
}

}  // namespace cachalot
