#include "convert/importance_ops.h"

namespace cachalot {

Weight ImportanceOps::load_matrix(const MatrixPart& part, DType held_as) {
  Weight w = ForwardingOps::load_matrix(part, held_as);
  if (!part.transposed) sources_[w.storage.get()] = {.names = {part.stored.name}, .matrices = 1, .seen = {{}}};
  return w;
}

Weight ImportanceOps::load_matrices(std::span<const MatrixPart> parts, DType held_as) {
  Weight w = ForwardingOps::load_matrices(parts, held_as);
  if (parts.empty() || parts[0].transposed) return w;
  Source source{.names = {}, .matrices = std::ssize(parts), .seen = std::vector<Squares>(parts.size())};
  for (const MatrixPart& part : parts) source.names.push_back(part.stored.name);
  sources_[w.storage.get()] = std::move(source);
  return w;
}

// Matrix `matrix` of w, counted from its first one.
void ImportanceOps::add_row(const Weight& w, int64_t matrix, std::span<const float> x) {
  const auto found = sources_.find(w.storage.get());
  if (found == sources_.end()) return;
  Squares& squares = found->second.seen[static_cast<size_t>(w.first + matrix)];
  squares.sum.resize(x.size());
  for (size_t i = 0; i < x.size(); ++i) squares.sum[i] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  ++squares.rows;
}

Tensor ImportanceOps::linear(const Tensor& x_TD, const Linear& l) {
  const auto numbers = read(x_TD, room_);
  const auto width = static_cast<size_t>(x_TD.last());
  for (size_t at = 0; at < numbers.size(); at += width) add_row(l.w, 0, numbers.subspan(at, width));
  return ForwardingOps::linear(x_TD, l);
}

Tensor ImportanceOps::linear_per_head(const Tensor& x_THI, const Weight& w_HOI) {
  const auto numbers = read(x_THI, room_);
  const auto width = static_cast<size_t>(x_THI.last());
  for (int64_t r = 0; r < x_THI.rows(); ++r)
    add_row(w_HOI, r % x_THI.dim(1), numbers.subspan(static_cast<size_t>(r) * width, width));
  return ForwardingOps::linear_per_head(x_THI, w_HOI);
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
