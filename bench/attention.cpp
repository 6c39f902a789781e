// Speed of attention over a cache at depth, without a model: CpuOps is driven as a step drives it, over as many
// layers as the real models have, so that the cache does not fit the processor's. Wall time; best and median of
// several steps.
//
//   bench_attention [--threads N] [--kv TYPE] [--depth N] [--seconds S] [case …]
//
// Cases (all unless named): gqa (decode; R1-Distill-Qwen-1.5B), gqa-prefill (512 rows), mla (absorbed decode;
// DeepSeek-V2-Lite), mla-prefill (512 rows, expanded).
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/page_buffer.h"
#include "base/random.h"
#include "ops/cpu/cpu_ops.h"

namespace cachalot {
namespace {

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Options {
  int threads = default_threads(), depth = 4096;
  double seconds = 2;
  DType kv = DType::bf16;
  std::vector<std::string> cases;

  bool wanted(const char* name) const {
    return cases.empty() || std::find(cases.begin(), cases.end(), name) != cases.end();
  }
};

struct Times {
  double best, median;
};
Times times_of(double for_seconds, const std::function<void()>& work) {
  std::vector<double> times;
  work();
  for (const double start = seconds(); times.size() < 3 || seconds() < start + for_seconds;) {
    const double from = seconds();
    work();
    times.push_back(seconds() - from);
  }
  std::sort(times.begin(), times.end());
  return {times.front(), times[times.size() / 2]};
}

Tensor random_tensor(Arena& arena, uint64_t seed, int64_t a, int64_t b, int64_t c) {
  const Tensor t = arena.tensor(a, b, c);
  const auto some = random_normal(std::min<int64_t>(t.elements(), 10007), seed);
  for (int64_t i = 0; i < t.elements(); ++i) t.data()[i] = some[static_cast<size_t>(i) % some.size()];
  return t;
}

// One sequence in a cache of `layers` equal layers.
class Bench {
 public:
  Bench(const Options& options, int layers, const KvCache::Layer& layer)
      : options_(options), ops_(best_kernels(), options.threads), layers_(layers), layer_(layer) {
    const int blocks = options.depth / kBlockTokens + 10;
    cache_ = ops_.make_cache({.layers = std::vector<KvCache::Layer>(static_cast<size_t>(layers), layer),
                              .blocks_of_group = {blocks},
                              .dtype = options.kv});
    for (int b = 0; b < blocks; ++b) table_.push_back(b);
  }

  CpuOps& ops() { return ops_; }
  KvCache& cache() { return *cache_; }
  double cache_bytes(int tokens) const {
    return static_cast<double>(ops_.cache_block_bytes(layer_, options_.kv)) / kBlockTokens * layers_ * tokens;
  }

  Batch batch(int first_position, int rows) const {
    Batch batch;
    batch.tokens_T.resize(static_cast<size_t>(rows));
    batch.sequences.push_back({.first_row = 0,
                               .rows = rows,
                               .first_position = first_position,
                               .rope_tokens = rows,
                               .expanded_tokens = rows > 1 ? first_position + rows : 0,
                               .block_tables = {table_}});
    return batch;
  }

  // Fills the cache up to `depth`, then times steps of `rows` rows there.
  void run(const char* name, int rows, double flops_per_key,
           const std::function<void(int layer, const Batch& batch)>& append,
           const std::function<void(int layer, const Batch& batch)>& attend) {
    Arena& arena = ops_.arena();
    for (int at = 0; at < options_.depth; at += 512) {
      const Batch some = batch(at, std::min(512, options_.depth - at));
      for (int layer = 0; layer < layers_; ++layer) {
        const auto mark = arena.mark();
        append(layer, some);
        arena.rewind(mark);
      }
    }
    const int first = options_.depth - (rows > 1 ? rows : 0);
    const Batch step = batch(first, rows);
    const auto timed = [&](const auto& verb) {
      return times_of(options_.seconds, [&] {
        for (int layer = 0; layer < layers_; ++layer) {
          const auto mark = arena.mark();
          verb(layer, step);
          arena.rewind(mark);
        }
      });
    };
    const Times attending = timed(attend), appending = timed(append);
    const double keys = rows * (first + 0.5 * (rows + 1)), flops = keys * flops_per_key * layers_;
    fmt::print(
        "{:12} depth {} {} rows {}: attend {:.2f} ms (median {:.2f}), {:.1f} GB/s of cache, {:.0f} GFLOP/s; "
        "append {:.2f} ms; cache {:.0f} MB\n",
        name, options_.depth, cachalot::name(options_.kv), rows, attending.best * 1e3, attending.median * 1e3,
        cache_bytes(first + rows) / attending.best * 1e-9, flops / attending.best * 1e-9, appending.best * 1e3,
        cache_bytes(first + rows) * 1e-6);
    std::fflush(stdout);
  }

 private:
  const Options& options_;
  CpuOps ops_;
  int layers_;
  KvCache::Layer layer_;
  std::unique_ptr<KvCache> cache_;
  std::vector<int32_t> table_;
};

void gqa(const Options& o, const char* name, int rows) {
  constexpr int kHeads = 12, kKvHeads = 2, kDim = 128, kLayers = 28;
  if (!o.wanted(name)) return;
  Bench bench(o, kLayers, {.kv_heads = kKvHeads, .key_dim = kDim, .value_dim = kDim});
  Arena& arena = bench.ops().arena();
  const Tensor q = random_tensor(arena, 1, 512, kHeads, kDim), k = random_tensor(arena, 2, 512, kKvHeads, kDim),
               v = random_tensor(arena, 3, 512, kKvHeads, kDim);
  const auto first_rows = [](const Tensor& t, const Batch& b) {
    return tensor_view(t.data(), b.rows(), t.dim(1), t.last());
  };
  bench.run(
      name, rows, 4.0 * kHeads * kDim,
      [&](int layer, const Batch& b) {
        bench.ops().append(bench.cache(), layer, b, first_rows(k, b), first_rows(v, b));
      },
      [&](int layer, const Batch& b) {
        bench.ops().attend(first_rows(q, b), bench.cache(), layer, b, {.scale = 0.088f});
      });
}

void mla(const Options& o, const char* name, int rows) {
  constexpr int kHeads = 16, C = 512, R = 64, N = 128, V = 128, kLayers = 27;
  if (!o.wanted(name)) return;
  Bench bench(o, kLayers, {.kv_heads = 1, .key_dim = C + R, .value_dim = 0, .latent_dim = C});
  Arena& arena = bench.ops().arena();
  const auto matrices = [&](int64_t outputs, int64_t inputs, std::vector<float>& numbers) {
    numbers = random_normal(kHeads * outputs * inputs, 7, 0.05);
    const StoredTensor all{.name = "w",
                           .dtype = DType::f32,
                           .shape = {kHeads * outputs, inputs},
                           .bytes = std::as_bytes(std::span(numbers))};
    std::vector<MatrixPart> parts;
    for (int h = 0; h < kHeads; ++h) parts.push_back({.stored = all.rows_part(h * outputs, (h + 1) * outputs)});
    return bench.ops().load_matrices(parts, DType::bf16);
  };
  std::vector<float> k_numbers, v_numbers;
  LatentWeights w;
  w.k_up_HCN = matrices(C, N, k_numbers);
  w.v_up_HVC = matrices(V, C, v_numbers);
  const Tensor qn = random_tensor(arena, 1, 512, kHeads, N), qr = random_tensor(arena, 2, 512, kHeads, R),
               keys = random_tensor(arena, 3, 512, 1, C + R);
  const double per_key = rows > 1 ? 2.0 * kHeads * (N + R + V) : 2.0 * kHeads * (2 * C + R);
  bench.run(
      name, rows, per_key,
      [&](int layer, const Batch& b) {
        bench.ops().append(bench.cache(), layer, b, tensor_view(keys.data(), b.rows(), 1, C + R), {});
      },
      [&](int layer, const Batch& b) {
        bench.ops().attend_latent(tensor_view(qn.data(), b.rows(), kHeads, N),
                                  tensor_view(qr.data(), b.rows(), kHeads, R), w, bench.cache(), layer, b,
                                  {.scale = 0.07f});
      });
}

void probes(const Options& o) {
  ThreadPool pool(o.threads);
  const KernelTable& k = best_kernels();
  PageBuffer memory(size_t{256} << 20);
  std::memset(memory.data(), 1, memory.bytes());
  std::vector<uint64_t> sums(static_cast<size_t>(o.threads) * 8);
  const auto reading = times_of(0.5, [&] {
    pool.for_each_chunk(256, 1, [&](int64_t begin, int64_t) {
      sums[0] += k.read_bytes(memory.data() + (begin << 20), size_t{1} << 20);
    });
  });
  fmt::print("{}, {} threads; reading {:.1f} GB/s", k.isa, o.threads,
             static_cast<double>(memory.bytes()) / reading.best * 1e-9);
  if (k.bf16_loop) {
    constexpr int64_t kIterations = 1000000;
    const auto loop = times_of(0.2, [&] { pool.run([&](int) { (void)k.bf16_loop(kIterations); }); });
    fmt::print(", bf16 products {:.0f} GFLOP/s",
               static_cast<double>(k.bf16_flops * kIterations) * o.threads / loop.best * 1e-9);
  }
  fmt::print("\n");
}

Options parse(int count, char** arguments) {
  Options o;
  for (int i = 1; i < count; ++i) {
    const std::string a = arguments[i];
    const char* value = i + 1 < count ? arguments[i + 1] : "";
    if (a == "--threads")
      o.threads = std::atoi(value), ++i;
    else if (a == "--depth")
      o.depth = std::atoi(value), ++i;
    else if (a == "--seconds")
      o.seconds = std::atof(value), ++i;
    else if (a == "--kv")
      o.kv = dtype_from_name(value).value_or(DType::bf16), ++i;
    else
      o.cases.push_back(a);
  }
  return o;
}

}  // namespace
}  // namespace cachalot

int main(int count, char** arguments) {
  using namespace cachalot;
  const Options o = parse(count, arguments);
  probes(o);
  gqa(o, "gqa", 1);
  gqa(o, "gqa-prefill", 512);
  mla(o, "mla", 1);
  mla(o, "mla-prefill", 512);
}
