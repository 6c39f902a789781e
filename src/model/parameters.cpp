#include "model/parameters.h"

#include <algorithm>

#include "base/error.h"
#include "model/recipe.h"
#include "ops/weight_types.h"

namespace cachalot {

std::vector<int64_t> Parameter::shape() const {
  std::vector<int64_t> shape;
  if (stack > 0) shape.push_back(stack);
  if (kind != Kind::vector) shape.push_back(rows);
  shape.push_back(columns);
  return shape;
}

// As the recipe of that name gives it to a file. Plain types hold every layer alike.
static DType chosen_type(const Parameter& p, DType type, DType stored) {
  const DType source = has_kernels(stored) ? stored : DType::bf16;
  return choose_type(recipe_named(name(type)), {role_of_slot(p.slot), p.layer, p.shape(), source, 1, p.tied_head});
}

DType Parameter::held_as(const WeightsPolicy& policy, DType stored) const {
  if (kind == Kind::vector || kind == Kind::precise) return DType::f32;
  const DType wanted = policy.fixed ? chosen_type(*this, *policy.fixed, stored) : stored;
  if (wanted == DType::f32) return DType::f32;
  const bool coded = wanted == DType::f8_e4m3;  // its rows cannot be looked up
  return kind == Kind::latent || (kind == Kind::table && coded) ? DType::bf16 : holdable_type(wanted, columns);
}

int64_t Parameter::held_bytes(const Ops& ops, DType held) const {
  if (kind == Kind::vector) return 4 * elements();
  return std::max<int64_t>(1, stack) * ops.matrix_bytes(rows, columns, held);
}

namespace {

using Kind = Parameter::Kind;

class Walk {
 public:
  using Visit = std::function<void(const Parameter&, Weight&)>;
  Walk(const ModelSpec& spec, const Visit& visit) : spec_(spec), visit_(visit), width_(spec.width) {}

  void model(ModelWeights& w) {
    visit_(
        {.slot = "embed", .kind = Kind::table, .rows = spec_.vocab, .columns = width_, .tied_head = spec_.tied_head},
        w.embed_WD);
    if (spec_.learned_positions > 0) table("positions", w.positions, spec_.learned_positions, width_);
    w.layers.resize(spec_.layers.size());
    for (size_t i = 0; i < spec_.layers.size(); ++i, ++layer_) layer(spec_.layers[i], w.layers[i]);
    w.mtp.resize(spec_.mtp.size());
    for (size_t i = 0; i < spec_.mtp.size(); ++i, ++layer_) mtp(spec_.mtp[i], w.mtp[i]);
    layer_ = 0;
    vector("norm", w.norm_D, width_);
    if (!spec_.tied_head) matrix("head", w.head.w, spec_.vocab, width_);
    if (spec_.head_bias) bias("head", w.head.bias, spec_.vocab);
  }

 private:
  // -- Blocks

  void layer(const LayerSpec& s, LayerWeights& w) {
    vector("attn.norm", w.attn_norm_D, width_);
    if (s.gqa())
      gqa(*s.gqa(), w.attention.emplace<GqaWeights>());
    else
      mla(*s.mla(), w.attention.emplace<MlaWeights>());
    vector("ffn.norm", w.ffn_norm_D, width_);
    if (s.dense())
      ffn("ffn", *s.dense(), w.ffn.emplace<FfnWeights>());
    else
      moe(*s.moe(), w.ffn.emplace<MoeWeights>());
  }

  void gqa(const GqaSpec& a, GqaWeights& w) {
    const int64_t U = int64_t{a.heads} * a.head_dim, kv = int64_t{a.kv_heads} * a.head_dim;
    // Also stored as one matrix: the rows of q, then of k, then of v.
    const auto part = [&](const char* slot, Linear& l, int64_t first, int64_t rows) {
      visit_({.slot = slot,
              .layer = layer_,
              .rows = rows,
              .columns = width_,
              .within = {{.slot = "attn.qkv", .shape = {U + 2 * kv, width_}, .first = first}}},
             l.w);
      if (a.qkv_bias)
        visit_({.slot = slot,
                .suffix = ".bias",
                .kind = Kind::vector,
                .layer = layer_,
                .columns = rows,
                .within = {{.slot = "attn.qkv", .shape = {U + 2 * kv}, .first = first}}},
               l.bias);
    };
    part("attn.q", w.q, 0, U);
    part("attn.k", w.k, U, kv);
    part("attn.v", w.v, U + kv, kv);
    if (a.qk_norm) {
      vector("attn.q_norm", w.q_norm_K, a.head_dim);
      vector("attn.k_norm", w.k_norm_K, a.head_dim);
    }
    if (a.compressed_dim > 0) {
      matrix("attn.k_compress", w.k_compress.w, a.compressed_dim, kv);
      matrix("attn.v_compress", w.v_compress.w, a.compressed_dim, kv);
    }
    linear("attn.out", w.out, width_, int64_t{a.heads} * a.cached_head_dim(), a.out_bias);
  }

  void mla(const MlaSpec& a, MlaWeights& w) {
    const int64_t H = a.heads, N = a.nope_dim, R = a.rope.dim, V = a.value_dim, C = a.kv_rank;
    if (a.q_rank > 0) {
      linear("attn.q_down", w.q_down, a.q_rank, width_, a.bias);
      vector("attn.q_down_norm", w.q_norm_Q, a.q_rank);
      linear("attn.q_up", w.q_up, H * (N + R), a.q_rank, false);
    } else {
      linear("attn.q", w.q, H * (N + R), width_, false);
    }
    linear("attn.kv_down", w.kv_down, C + R, width_, a.bias);
    vector("attn.kv_norm", w.kv_norm_C, C);
    // Stored as two stacks, the keys' already transposed; or as one matrix that has per head the rows that make its
    // keys, then those that make its values.
    const std::vector<int64_t> both = {H * (N + V), C};
    visit_({.slot = "attn.k_up",
            .kind = Kind::latent,
            .layer = layer_,
            .stack = H,
            .rows = C,
            .columns = N,
            .within = {{.slot = "attn.kv_up", .shape = both, .first = 0, .transposed = true}}},
           w.up.k_up_HCN);
    visit_({.slot = "attn.v_up",
            .kind = Kind::latent,
            .layer = layer_,
            .stack = H,
            .rows = V,
            .columns = C,
            .within = {{.slot = "attn.kv_up", .shape = both, .first = N}}},
           w.up.v_up_HVC);
    linear("attn.out", w.out, width_, H * V, a.bias);
  }

  void ffn(const std::string& slot, const FfnSpec& f, FfnWeights& w) {
    if (f.form.gated) linear(slot + ".gate", w.gate, f.hidden, width_, f.bias);
    linear(slot + ".up", w.up, f.hidden, width_, f.bias);
    linear(slot + ".down", w.down, width_, f.hidden, f.bias);
  }

  void moe(const MoeSpec& s, MoeWeights& w) {
    const int64_t E = s.gate.experts, F = s.expert.hidden;
    const bool gated = s.expert.form.gated;
    precise("moe.router", w.router.w, E, width_);
    if (s.router_bias) bias("moe.router", w.router.bias, E);
    if (s.correction_bias)
      visit_({.slot = "moe.correction", .suffix = "", .kind = Kind::vector, .layer = layer_, .columns = E},
             w.correction_E);
    if (gated) experts("experts.gate", w.experts.gate.w, E, F, width_, in_gate_up(s, 0));
    experts("experts.up", w.experts.up.w, E, F, width_, in_gate_up(s, F));
    experts("experts.down", w.experts.down.w, E, width_, F, {});
    if (s.expert.bias) {
      if (gated) expert_biases("experts.gate", w.experts.gate.bias, E, F);
      expert_biases("experts.up", w.experts.up.bias, E, F);
      expert_biases("experts.down", w.experts.down.bias, E, width_);
    }
    if (s.shared.hidden > 0) ffn("shared", s.shared, w.shared);
    if (s.shared_gate) precise("shared.scale", w.shared_gate.w, 1, width_);
  }

  // Gated experts are also stored as one stack: per expert the rows of gate, then of up.
  std::optional<Parameter::Within> in_gate_up(const MoeSpec& s, int64_t first) const {
    if (!s.expert.form.gated) return std::nullopt;
    return Parameter::Within{
        .slot = "experts.gate_up", .shape = {s.gate.experts, 2 * int64_t{s.expert.hidden}, width_}, .first = first};
  }

  void mtp(const LayerSpec& s, MtpWeights& w) {
    vector("mtp.embed_norm", w.embed_norm_D, width_);
    vector("mtp.hidden_norm", w.hidden_norm_D, width_);
    matrix("mtp.combine", w.combine.w, width_, 2 * width_);
    layer(s, w.layer);
    vector("mtp.norm", w.norm_D, width_);
  }

  // -- Parameters

  void matrix(std::string slot, Weight& w, int64_t rows, int64_t columns) {
    visit_({.slot = std::move(slot), .layer = layer_, .rows = rows, .columns = columns}, w);
  }
  void table(std::string slot, Weight& w, int64_t rows, int64_t columns) {
    visit_({.slot = std::move(slot), .kind = Kind::table, .layer = layer_, .rows = rows, .columns = columns}, w);
  }
  void precise(std::string slot, Weight& w, int64_t rows, int64_t columns) {
    visit_({.slot = std::move(slot), .kind = Kind::precise, .layer = layer_, .rows = rows, .columns = columns}, w);
  }
  void vector(std::string slot, Weight& w, int64_t size) {
    visit_({.slot = std::move(slot), .kind = Kind::vector, .layer = layer_, .columns = size}, w);
  }
  void bias(std::string slot, Weight& w, int64_t size) {
    visit_({.slot = std::move(slot), .suffix = ".bias", .kind = Kind::vector, .layer = layer_, .columns = size}, w);
  }
  void linear(const std::string& slot, Linear& l, int64_t rows, int64_t columns, bool has_bias) {
    matrix(slot, l.w, rows, columns);
    if (has_bias) bias(slot, l.bias, rows);
  }
  void experts(const char* slot, Weight& w, int64_t count, int64_t rows, int64_t columns,
               const std::optional<Parameter::Within>& within) {
    visit_({.slot = slot, .layer = layer_, .stack = count, .rows = rows, .columns = columns, .within = within}, w);
  }
  void expert_biases(const char* slot, Weight& w, int64_t count, int64_t size) {
    visit_({.slot = slot, .suffix = ".bias", .kind = Kind::vector, .layer = layer_, .stack = count, .columns = size},
           w);
  }

  const ModelSpec& spec_;
  const Visit& visit_;
  const int64_t width_;
  int layer_ = 0;
};

}  // namespace

void for_each_parameter(const ModelSpec& spec, ModelWeights& weights,
                        const std::function<void(const Parameter&, Weight&)>& visit) {
  Walk(spec, visit).model(weights);
}

std::vector<Parameter> parameters_of(const ModelSpec& spec) {
  constexpr double most = 1LL << 50;
  std::vector<Parameter> parameters;
  ModelWeights nowhere;
  double total = 0;
  for_each_parameter(spec, nowhere, [&](const Parameter& p, Weight&) {
    total += static_cast<double>(std::max<int64_t>(1, p.stack)) * static_cast<double>(p.rows) *
             static_cast<double>(p.columns);
    if (total > most) throw Error(fmt::format("the config describes a model of more than {:.0e} parameters", most));
    parameters.push_back(p);
  });
  return parameters;
}

ParameterCounts count_parameters(const ModelSpec& spec) {
  ParameterCounts counts;
  for (const Parameter& p : parameters_of(spec)) {
    int64_t active = p.elements();
    const bool in_mtp = p.layer >= std::ssize(spec.layers);
    if (p.routed()) {
      const auto layer = static_cast<size_t>(p.layer);
      const LayerSpec& s = in_mtp ? spec.mtp[layer - spec.layers.size()] : spec.layers[layer];
      active = p.elements() / p.stack * s.moe()->gate.active;
    }
    (in_mtp ? counts.mtp_total : counts.total) += p.elements();
    (in_mtp ? counts.mtp_active : counts.active) += active;
  }
  return counts;
}

}  // namespace cachalot
