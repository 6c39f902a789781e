#include "model/parameters.h"

#include "base/error.h"

namespace cachalot {

// Those of a module that predicts the token after the next, around its layer.
static void list_mtp(const LayerSpec& s, MtpWeights& w, ParameterVisitor& visit) {
  const int64_t D = visit.width();
  visit.vector("mtp.embed_norm", w.embed_norm_D, D);
  visit.vector("mtp.hidden_norm", w.hidden_norm_D, D);
  visit.matrix("mtp.combine", w.combine.w, D, 2 * D);
  s.list(w.layer, visit);
  visit.vector("mtp.norm", w.norm_D, D);
}

void for_each_parameter(const ModelSpec& spec, ModelWeights& w, const ParameterVisitor::Visit& to) {
  ParameterVisitor visit(to, spec.width);
  visit({.slot = "embed",
         .kind = Parameter::Kind::table,
         .rows = spec.vocab,
         .columns = spec.width,
         .tied_head = spec.tied_head},
        w.embed_WD);
  if (spec.learned_positions > 0) visit.table("positions", w.positions, spec.learned_positions, spec.width);
  w.layers.resize(spec.layers.size());
  w.mtp.resize(spec.mtp.size());
  int layer = 0;
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    visit.set_layer(layer++);
    spec.layers[i].list(w.layers[i], visit);
  }
  for (size_t i = 0; i < spec.mtp.size(); ++i) {
    visit.set_layer(layer++);
    list_mtp(spec.mtp[i], w.mtp[i], visit);
  }
  visit.set_layer(0);
  visit.vector("norm", w.norm_D, spec.width);
  if (!spec.tied_head && !spec.headless) visit.matrix("head", w.head.w, spec.vocab, spec.width);
  if (spec.head_bias) visit.bias("head", w.head.bias, spec.vocab);
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
    const bool in_mtp = p.layer >= std::ssize(spec.layers);
    (in_mtp ? counts.mtp_total : counts.total) += p.elements();
    (in_mtp ? counts.mtp_active : counts.active) += p.active_elements();
  }
  return counts;
}

}  // namespace cachalot
