#include "convert/importance_ops.h"

namespace cachalot {

Weight ImportanceOps::load_matrix(const MatrixPart& part, DType held_as) {
  Weight w = TraceOps::load_matrix(part, held_as);
  if (!part.transposed) sources_[w.storage.get()] = {.names = {part.stored.name}, .matrices = 1, .seen = {{}}};
  return w;
}

Weight ImportanceOps::load_matrices(std::span<const MatrixPart> parts, DType held_as) {
  Weight w = TraceOps::load_matrices(parts, held_as);
  if (parts.empty() || parts[0].transposed) return w;
  Source source{.names = {}, .matrices = std::ssize(parts), .seen = std::vector<Squares>(parts.size())};
  for (const MatrixPart& part : parts) source.names.push_back(part.stored.name);
  sources_[w.storage.get()] = std::move(source);
  return w;
}

void ImportanceOps::add_row(const Weight& w, int64_t matrix, const float* x, int64_t count) {
  const auto found = sources_.find(w.storage.get());
  if (found == sources_.end()) return;
  Squares& squares = found->second.seen[static_cast<size_t>(matrix)];
  squares.sum.resize(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    squares.sum[static_cast<size_t>(i)] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  ++squares.rows;
}

Tensor ImportanceOps::linear(const Tensor& x, const Weight& w, const Weight& bias) {
  for (int64_t r = 0; r < x.rows(); ++r) add_row(w, 0, x.row(r), x.last());
  return TraceOps::linear(x, w, bias);
}

Tensor ImportanceOps::logits(const Tensor& hidden, const Weight& w, const Weight& bias) {
  for (int64_t r = 0; r < hidden.rows(); ++r) add_row(w, 0, hidden.row(r), hidden.last());
  return TraceOps::logits(hidden, w, bias);
}

Tensor ImportanceOps::experts(const Tensor& x, const Routing& routing, const ExpertWeights& w, const FfnForm& form) {
  for (int64_t r = 0; r < x.rows(); ++r) {
    for (int64_t a = 0; a < routing.expert_TA.last(); ++a) {
      const auto expert = static_cast<int64_t>(routing.expert_TA.row(r)[a]);
      if (w.gate_EFD) add_row(w.gate_EFD, expert, x.row(r), x.last());
      add_row(w.up_EFD, expert, x.row(r), x.last());
    }
  }
  return TraceOps::experts(x, routing, w, form);
}

// A stack that is one stored tensor has the numbers of all its matrices, one after the other; several weights may be
// parts of one stored tensor (q, k and v of a fused matrix), which see the same inputs.
Importance ImportanceOps::importance() const {
  Importance all;
  for (const auto& [storage, source] : sources_) {
    const bool one_tensor = source.matrices > 1 && source.names.front() == source.names.back();
    size_t columns = 0;
    for (const Squares& s : source.seen) columns = std::max(columns, s.sum.size());
    if (columns == 0) continue;
    for (size_t m = 0; m < source.seen.size(); ++m) {
      const Squares& s = source.seen[m];
      std::vector<float>& numbers = all[source.names[m]];
      const size_t first = one_tensor ? m * columns : 0;
      numbers.resize(std::max(numbers.size(), first + columns));
      for (size_t i = 0; i < s.sum.size(); ++i)
        numbers[first + i] = static_cast<float>(s.sum[i] / static_cast<double>(s.rows));
    }
  }
  return all;
}

}  // namespace cachalot
