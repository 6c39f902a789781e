// Attention over long caches: several splits of split-KV, any number of threads, every type of cache.
#include <gtest/gtest.h>

#include <cmath>

#include "ops/cpu/cpu_ops.h"
#include "support/kernels.h"

namespace cachalot {
namespace {

using Numbers = std::vector<float>;

struct Shape {
  int heads, kv_heads, dim;
};

// One text: queries, keys and values of every position, [T, heads, dim].
struct Text {
  Shape shape;
  int tokens;
  Numbers q, k, v;

  Text(const Shape& s, int length, uint64_t seed)
      : shape(s),
        tokens(length),
        q(random_normal(int64_t{length} * s.heads * s.dim, seed)),
        k(random_normal(int64_t{length} * s.kv_heads * s.dim, seed + 1)),
        v(random_normal(int64_t{length} * s.kv_heads * s.dim, seed + 2)) {}
};

AttendSpec spec_of(const Shape& shape, int window = 0) {
  return {.scale = 1 / std::sqrt(static_cast<float>(shape.dim)), .window = window};
}

// Row `position`, computed in f64.
std::vector<double> definition(const Text& text, int position, int window = 0) {
  const auto& [heads, kv_heads, dim] = text.shape;
  const AttendSpec spec = spec_of(text.shape, window);
  std::vector<double> out;
  for (int h = 0; h < heads; ++h) {
    const float* q = &text.q[(int64_t{position} * heads + h) * dim];
    std::vector<double> sum(static_cast<size_t>(dim));
    double total = 0;
    for (int t = window > 0 ? std::max(0, position - window + 1) : 0; t <= position; ++t) {
      const int64_t at = (int64_t{t} * kv_heads + h / (heads / kv_heads)) * dim;
      double score = 0;
      for (int d = 0; d < dim; ++d) score += static_cast<double>(q[d]) * text.k[at + d];
      const double weight = std::exp(score * spec.scale);
      total += weight;
      for (int d = 0; d < dim; ++d) sum[d] += weight * text.v[at + d];
    }
    for (const double s : sum) out.push_back(s / total);
  }
  return out;
}

// Several texts side by side, `chunk` rows of each per step and then `singles` last rows one by one; all rows.
std::vector<Numbers> attended(const KernelTable& kernels, int threads, DType dtype, const std::vector<Text>& texts,
                              int chunk, int singles = 0, int window = 0) {
  CpuOps ops(kernels, threads);
  const auto& [heads, kv_heads, dim] = texts[0].shape;
  const int count = static_cast<int>(texts.size()), blocks = 40;
  const auto cache = ops.make_cache({.layers = {{.kv_heads = kv_heads, .key_dim = dim, .value_dim = dim}},
                                     .blocks_of_group = {blocks * count},
                                     .dtype = dtype});
  std::vector<std::vector<int32_t>> tables(texts.size());
  for (int s = 0; s < count; ++s)
    for (int b = 0; b < blocks; ++b) tables[s].push_back(b * count + s);

  std::vector<int> done(texts.size());
  std::vector<Numbers> out(texts.size());
  for (;;) {
    const auto mark = ops.arena().mark();
    Batch batch;
    std::vector<size_t> owners;
    for (size_t s = 0; s < texts.size(); ++s) {
      const int prefill = texts[s].tokens - singles - done[s], left = texts[s].tokens - done[s];
      const int rows = prefill > 0 ? std::min(chunk, prefill) : std::min(1, left);
      if (rows == 0) continue;
      batch.sequences.push_back({.first_row = static_cast<int>(batch.rows()),
                                 .rows = rows,
                                 .first_position = done[s],
                                 .block_tables = {tables[s]}});
      batch.tokens_T.resize(batch.tokens_T.size() + static_cast<size_t>(rows));
      owners.push_back(s);
      done[s] += rows;
    }
    if (owners.empty()) return out;
    const auto rows_of = [&](const Numbers Text::* numbers, int per_token) {
      const Tensor t = ops.arena().tensor(batch.rows(), per_token / dim, dim);
      for (size_t i = 0; i < owners.size(); ++i) {
        const BatchSequence& s = batch.sequences[i];
        const float* from = (texts[owners[i]].*numbers).data() + int64_t{s.first_position} * per_token;
        std::copy(from, from + int64_t{s.rows} * per_token, t.data() + int64_t{s.first_row} * per_token);
      }
      return t;
    };
    const Tensor q = rows_of(&Text::q, heads * dim);
    ops.append(*cache, 0, batch, rows_of(&Text::k, kv_heads * dim), rows_of(&Text::v, kv_heads * dim));
    const Tensor o = ops.attend(q, *cache, 0, batch, spec_of(texts[0].shape, window));
    for (size_t i = 0; i < owners.size(); ++i) {
      const BatchSequence& s = batch.sequences[i];
      const float* from = o.data() + int64_t{s.first_row} * heads * dim;
      out[owners[i]].insert(out[owners[i]].end(), from, from + int64_t{s.rows} * heads * dim);
    }
    ops.arena().rewind(mark);
  }
}

constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::q8_0};

double tolerance(DType type) { return type == DType::f32 ? 2e-5 : type == DType::bf16 ? 0.02 : 0.03; }

TEST(LongAttention, MatchesTheF64DefinitionInEveryTypeOfCacheOnEveryIsa) {
  for (const Shape& shape : {Shape{6, 2, 32}, {3, 1, 10}, {2, 2, 70}})
    for (const int window : {0, 700}) {
      const Text text(shape, 1400, 1);
      for (const KernelTable* kernels : usable_kernels())
        for (const DType type : kTypes) {
          SCOPED_TRACE(fmt::format("{} {} dim={} window={}", kernels->isa, name(type), shape.dim, window));
          const Numbers got = attended(*kernels, 2, type, {text}, 300, 3, window)[0];
          const int per_token = shape.heads * shape.dim;
          for (const int position : {0, 63, 511, 512, 1023, 1024, 1397, 1399}) {
            const auto want = definition(text, position, window);
            // Errors of rounded keys and values average out over the keys that a row sees.
            const double bound = tolerance(type) * (type == DType::f32 || position > 100 ? 1 : 3);
            for (int i = 0; i < per_token; ++i)
              ASSERT_NEAR(got[int64_t{position} * per_token + i], want[i], bound) << "position " << position;
          }
        }
    }
}

TEST(LongAttention, IsTheSameAloneAmongOthersInChunksOneByOneAndOnAnyNumberOfThreads) {
  const Shape shape{3, 1, 16};
  const std::vector<Text> texts = {Text(shape, 1300, 1), Text(shape, 20, 2), Text(shape, 700, 3)};
  for (const KernelTable* kernels : usable_kernels())
    for (const DType type : kTypes)
      for (const int window : {0, 600}) {
        SCOPED_TRACE(fmt::format("{} {} window={}", kernels->isa, name(type), window));
        std::vector<Numbers> alone;
        for (const Text& text : texts) alone.push_back(attended(*kernels, 1, type, {text}, 2000, 0, window)[0]);
        for (const int threads : {1, 2, 3})
          for (const int chunk : {2000, 129})
            EXPECT_EQ(attended(*kernels, threads, type, texts, chunk, 5, window), alone)
                << threads << " threads, chunks of " << chunk;
        EXPECT_EQ(attended(*kernels, 2, type, {texts[2]}, 1, 0, window)[0], alone[2]) << "one by one";
      }
}

// What a bias of the keys does in Qwen2: a few pairs of components are tens of times as large as the others in every
// token, and turn with the position.
Text with_large_components(Text text) {
  const Shape& shape = text.shape;
  for (int t = 0; t < text.tokens; ++t)
    for (int g = 0; g < shape.kv_heads; ++g)
      for (const int pair : {5, 29, 60}) {
        const double angle = t * std::pow(1e4, -2.0 * pair / shape.dim);
        float* k = &text.k[(int64_t{t} * shape.kv_heads + g) * shape.dim + pair];
        k[0] += static_cast<float>(60 * std::cos(angle)), k[64] += static_cast<float>(60 * std::sin(angle));
      }
  return text;
}

// Keys rounded to 8 bits as q8_0 does it elsewhere: 32 neighbours share a scale.
Text with_keys_in_rows_of_32(Text text) {
  for (size_t i = 0; i < text.k.size(); i += 32) {
    float largest = 0;
    for (size_t j = i; j < i + 32; ++j) largest = std::max(largest, std::abs(text.k[j]));
    for (size_t j = i; j < i + 32; ++j) text.k[j] = std::nearbyint(text.k[j] / largest * 127) / 127 * largest;
  }
  return text;
}

TEST(CodedCache, LosesLessToComponentsThatABiasMakesLargeThanRowsOf32Do) {
  const Text plain(Shape{4, 2, 128}, 600, 1), text = with_large_components(plain);
  const int per_token = text.shape.heads * text.shape.dim, first = 560;
  // Root mean square of the difference from the definition, over the last rows.
  const auto error = [&](const Text& of, const auto& row) {
    double sum = 0;
    for (int position = first; position < of.tokens; ++position) {
      const auto want = definition(of, position);
      const auto got = row(position);
      for (int i = 0; i < per_token; ++i) sum += std::pow(got[i] - want[i], 2);
    }
    return std::sqrt(sum / ((of.tokens - first) * per_token));
  };
  const auto cached = [&](const Text& of, DType type) {
    const Numbers got = attended(best_kernels(), 1, type, {of}, 600)[0];
    return error(of, [&](int position) { return got.data() + int64_t{position} * per_token; });
  };
  const Text rounded = with_keys_in_rows_of_32(text);
  EXPECT_LT(cached(text, DType::q8_0), 0.75 * error(text, [&](int p) { return definition(rounded, p); }));
  EXPECT_LT(cached(plain, DType::q8_0), 4 * cached(plain, DType::bf16));
}

}  // namespace
}  // namespace cachalot
