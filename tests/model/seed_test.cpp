// The worked examples of the two reports, through the engine's own code on every instruction set. The right figures
// are recomputed in tests/goldens/seed (tools/goldens/seed_examples.py); where a report prints a figure, the test
// holds ours against it, too: it agrees to the last printed digit, or, where the report is wrong, it differs.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "model/transformer.h"
#include "ops/cpu/cpu_ops.h"
#include "ops/cpu/experts.h"
#include "support/goldens.h"
#include "support/kernels.h"

namespace cachalot::testing {

using nlohmann::json;
using Vector = std::vector<float>;
using Matrix = std::vector<Vector>;

static std::vector<double> leaves(const json& value) {
  std::vector<double> all;
  if (!value.is_array()) return {value.is_string() ? std::stod(value.get<std::string>()) : value.get<double>()};
  for (const json& item : value)
    for (const double leaf : leaves(item)) all.push_back(leaf);
  return all;
}

static std::vector<int> printed_places(const json& value) {
  if (value.is_string()) {
    const auto text = value.get<std::string>();
    const auto point = text.find('.');
    return {point == text.npos ? 0 : static_cast<int>(text.size() - point - 1)};
  }
  std::vector<int> all;
  for (const json& item : value)
    for (const int places : printed_places(item)) all.push_back(places);
  return all;
}

// One example. Every figure of it must be reproduced, or said to be nothing that the engine computes.
class Example {
 public:
  explicit Example(int number) {
    static const json all = json::parse(std::ifstream(golden_root() / "seed/examples.json"));
    for (const json& example : all.at("examples"))
      if (example.at("number") == number) example_ = &example;
    for (const json& figure : example_->at("figures")) open_.insert(figure.at("name"));
  }
  ~Example() {
    EXPECT_TRUE(open_.empty()) << "figures of example " << example_->at("number")
                               << " not reproduced: " << json(open_);
  }
  Example(const Example&) = delete;

  Vector vector(const char* input) const { return example_->at("inputs").at(input).get<Vector>(); }
  Matrix matrix(const char* input) const { return example_->at("inputs").at(input).get<Matrix>(); }
  template <typename T>
  T number(const char* input) const {
    return example_->at("inputs").at(input).get<T>();
  }
  const json& inputs() const { return example_->at("inputs"); }

  // Ours is right, and as far from what is printed as the verdict says.
  void expect(const std::string& name, const Vector& ours) {
    SCOPED_TRACE(name);
    open_.erase(name);
    const json& figure = find(name);
    const auto right = leaves(figure.at("right"));
    ASSERT_EQ(ours.size(), right.size());
    for (size_t i = 0; i < right.size(); ++i)
      EXPECT_NEAR(ours[i], right[i], 2e-6 * std::max(1.0, std::abs(right[i]))) << "number " << i;
    if (!figure.at("printed").is_null()) expect_printed(figure, ours);
  }
  void expect(const std::string& name, float ours) { expect(name, Vector{ours}); }

  // Another reading of the text, which no model has and no code of ours computes.
  void is_no_form_of_ours(const std::string& name) { open_.erase(find(name).at("name").get<std::string>()); }

 private:
  const json& find(const std::string& name) const {
    for (const json& figure : example_->at("figures"))
      if (figure.at("name") == name) return figure;
    throw std::runtime_error("no figure " + name);
  }

  static void expect_printed(const json& figure, const Vector& ours) {
    const auto printed = leaves(figure.at("printed"));
    const auto places = printed_places(figure.at("printed"));
    ASSERT_EQ(printed.size(), ours.size());
    bool same = true, near = true;
    for (size_t i = 0; i < ours.size(); ++i) {
      const double unit = std::pow(10.0, -places[i]), distance = std::abs(ours[i] - printed[i]);
      same = same && distance <= 0.5 * unit + 1e-6;
      near = near && distance <= 2 * unit;
    }
    const auto verdict = figure.at("verdict").get<std::string>();
    EXPECT_EQ(same, verdict == "right") << "printed " << figure.at("printed");
    EXPECT_TRUE(near || verdict == "wrong") << "printed " << figure.at("printed");
  }

  const json* example_ = nullptr;
  std::set<std::string> open_;
};

// Numbers of a test in the forms that verbs take, with one instruction set.
class Machine {
 public:
  explicit Machine(const KernelTable& kernels) : op(kernels, 1) {}

  Tensor tensor(const Matrix& rows) {
    const Tensor t = op.arena().tensor(std::ssize(rows), std::ssize(rows[0]));
    for (size_t r = 0; r < rows.size(); ++r)
      std::copy(rows[r].begin(), rows[r].end(), t.row(static_cast<int64_t>(r)));
    return t;
  }
  Tensor tensor(const Vector& row) { return tensor(Matrix{row}); }

  // [outputs][inputs]
  Weight weight(const Matrix& rows) {
    Vector numbers;
    for (const Vector& row : rows) numbers.insert(numbers.end(), row.begin(), row.end());
    return op.load_matrix({stored(numbers, {std::ssize(rows), std::ssize(rows[0])})}, DType::f32);
  }
  Weight vector(const Vector& numbers) { return op.load_vector(stored(numbers, {std::ssize(numbers)})); }
  // A matrix that the report multiplies from the right, x W: its columns are our rows.
  Weight columns_of(const Matrix& w) {
    Matrix rows(w[0].size(), Vector(w.size()));
    for (size_t i = 0; i < w.size(); ++i)
      for (size_t j = 0; j < w[i].size(); ++j) rows[j][i] = w[i][j];
    return weight(rows);
  }
  Weight identity(int n) {
    Matrix rows(static_cast<size_t>(n), Vector(static_cast<size_t>(n)));
    for (size_t i = 0; i < rows.size(); ++i) rows[i][i] = 1;
    return weight(rows);
  }

  // Attention of T tokens over each other, as many heads as q has: q [T, H K], k the same, v [T, H V].
  Matrix attention(const Matrix& q, const Matrix& k, const Matrix& v, int heads, const AttendSpec& spec) {
    const auto T = std::ssize(q);
    const Tensor q_THK = tensor(q).split_heads(heads), k_THK = tensor(k).split_heads(heads),
                 v_THV = tensor(v).split_heads(heads);
    const KvCache::Layer layer{
        .kv_heads = heads, .key_dim = static_cast<int>(k_THK.last()), .value_dim = static_cast<int>(v_THV.last())};
    const auto blocks = static_cast<int>(T / kBlockTokens + 1);
    const auto cache = op.make_cache({.layers = {layer}, .blocks_of_group = {blocks}, .dtype = DType::f32});
    table_.clear();
    for (int b = 0; b < blocks; ++b) table_.push_back(b);
    Batch batch = batch_of(0, static_cast<int>(T));
    batch.sequences[0].block_tables = {table_};
    op.append(*cache, 0, batch, k_THK, v_THV);
    return matrix(op.attend(q_THK, *cache, 0, batch, spec).merge_heads());
  }

  // Rows at positions first, first + 1, … of a sequence.
  static Batch batch_of(int first_position, int rows) {
    Batch batch;
    batch.tokens_T.assign(static_cast<size_t>(rows), 0);
    batch.sequences = {{.rows = rows, .first_position = first_position, .rope_tokens = first_position + rows}};
    return batch;
  }

  static Matrix matrix(const Tensor& t) {
    Matrix rows;
    for (int64_t r = 0; r < t.rows(); ++r) rows.emplace_back(t.row(r), t.row(r) + t.last());
    return rows;
  }
  static Vector numbers(const Tensor& t) { return flat(matrix(t)); }
  static Vector flat(const Matrix& rows) {
    Vector all;
    for (const Vector& row : rows) all.insert(all.end(), row.begin(), row.end());
    return all;
  }

  CpuOps op;

 private:
  static StoredTensor stored(const Vector& numbers, std::vector<int64_t> shape) {
    return {.name = "w", .dtype = DType::f32, .shape = std::move(shape), .bytes = std::as_bytes(std::span(numbers))};
  }
  std::vector<int32_t> table_;
};

static Matrix columns(const Matrix& rows, size_t begin, size_t end) {
  Matrix part;
  for (const Vector& row : rows)
    part.emplace_back(row.begin() + static_cast<ptrdiff_t>(begin), row.begin() + static_cast<ptrdiff_t>(end));
  return part;
}

class WorkedExample : public ::testing::TestWithParam<const KernelTable*> {
 protected:
  Machine m{*GetParam()};
  Ops& op = m.op;
};

// The report prints 1.27, having divided by the rounded root; it is 1.26.
TEST_P(WorkedExample, Number1NormOfFour) {
  Example e(1);
  const Vector h = e.vector("h");
  const Vector y = m.numbers(op.rms_norm(m.tensor(h), m.vector(e.vector("gamma")), e.number<double>("eps")));
  e.expect("normalised", y);
  e.expect("root", h[0] / y[0]);
  e.expect("mean square", h[0] / y[0] * (h[0] / y[0]));
  e.expect("normalised, eps 1e-6", m.numbers(op.rms_norm(m.tensor(h), m.vector(e.vector("gamma")), 1e-6)));
}

TEST_P(WorkedExample, Number2AttentionOfTwoHeads) {
  Example e(2);
  const Matrix h = e.matrix("h");
  const Tensor h_TD = m.tensor(h);
  const Weight identity = m.identity(4);
  e.expect("q = k = v", m.numbers(op.linear(h_TD, {identity})));

  const Matrix one_hot = {{1, 0}, {0, 1}};  // as values, they show the softmax
  for (const auto& [name, x] : {std::pair{"head A", columns(h, 0, 2)}, std::pair{"head B", columns(h, 2, 4)},
                                std::pair{"one head of size 4", h}}) {
    const std::string head = name;
    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(x[0].size())));
    const Tensor scores = op.linear(m.tensor(x), {m.weight(x)});
    e.expect(head + ": q k", m.numbers(scores));
    e.expect(head + ": scaled", m.numbers(op.scale_rows(scores, m.tensor(Matrix{{scale}, {scale}}))));
    for (const auto& [kind, ahead] : {std::pair{"causal", 0}, std::pair{"not causal", 1}}) {
      const AttendSpec spec{.scale = scale, .ahead = ahead};
      e.expect(head + ": softmax, " + kind, m.flat(m.attention(x, x, one_hot, 1, spec)));
      e.expect(head + ": output, " + kind, m.flat(m.attention(x, x, x, 1, spec)));
    }
  }

  // Both heads through the block of the models, projections included.
  const GqaWeights w{
      .q = {m.identity(4), {}}, .k = {m.identity(4), {}}, .v = {m.identity(4), {}}, .out = {m.identity(4), {}}};
  for (const auto& [kind, ahead] : {std::pair{"causal", 0}, std::pair{"not causal", 1}}) {
    const GqaSpec spec{
        .heads = e.number<int>("heads"), .kv_heads = 2, .head_dim = 2, .rope = {.dim = 0}, .ahead = ahead};
    const auto cache = op.make_cache(
        {.layers = {{.kv_heads = 2, .key_dim = 2, .value_dim = 2}}, .blocks_of_group = {1}, .dtype = DType::f32});
    const std::vector<int32_t> table = {0};
    Batch batch = Machine::batch_of(0, 2);
    batch.sequences[0].block_tables = {table};
    const StepContext step{.batch = batch, .cache = *cache, .layer = 0, .angles_TR = {}, .prefix = ""};
    e.expect(std::string("both heads: output, ") + kind, m.numbers(spec.forward(op, w, h_TD, step)));
  }
}

// A two-layer expert whose matrices are zero and whose last bias is the output that the report gives it.
TEST_P(WorkedExample, Number3MixtureWithGivenGates) {
  Example e(3);
  const Vector gates = e.vector("gates");
  const Matrix outputs = e.matrix("expert_outputs");
  Vector logits;
  for (const float gate : gates) logits.push_back(std::log(gate));
  const Routing routing = op.route(m.tensor(logits), {}, {.experts = 3, .active = 2});
  e.expect("experts run", {routing.expert_TA.ids(0)[0] + 1.0f, routing.expert_TA.ids(0)[1] + 1.0f});
  EXPECT_EQ(ExpertGroups(routing, 3).groups.size(), 2u) << "the third expert must not be computed";

  const Vector zeros(12);
  const auto zero = [&](int64_t rows, int64_t inputs) {
    const StoredTensor part{.name = "w",
                            .dtype = DType::f32,
                            .shape = {rows, inputs},
                            .bytes = std::as_bytes(std::span(zeros).first(static_cast<size_t>(rows * inputs)))};
    return op.load_matrices(std::vector<MatrixPart>(3, {part}), DType::f32);
  };
  std::vector<StoredTensor> biases;
  for (const Vector& output : outputs)
    biases.push_back({.name = "b", .dtype = DType::f32, .shape = {2}, .bytes = std::as_bytes(std::span(output))});
  ExpertWeights w;
  w.up.w = zero(4, 2);
  w.down = {zero(2, 4), op.load_vectors(biases)};
  const Tensor x_TD = m.tensor(Vector{0.3f, -0.8f});
  e.expect("output", m.numbers(op.experts(x_TD, routing, w, {.gated = false, .activation = {}})));
}

// The report's softmax is wrong in all three figures; its choice of experts is right.
TEST_P(WorkedExample, Number4Router) {
  Example e(4);
  const Vector logits = e.vector("r");
  // The three gates, 0 where an expert is not chosen.
  const auto gates = [&](MoeGateSpec spec) {
    spec.experts = 3;
    const Routing routing = op.route(m.tensor(logits), {}, spec);
    Vector all(3);
    for (int a = 0; a < spec.active; ++a)
      all[static_cast<size_t>(routing.expert_TA.ids(0)[a])] = routing.weight_TA.data()[a];
    return all;
  };
  const int k = e.number<int>("k");
  const Vector chosen = gates({.active = k}), normalised = gates({.active = k, .normalised = true});
  e.expect("softmax", gates({.active = 3}));
  e.expect("gates, not renormalised", chosen);
  Vector ids;
  for (size_t i = 0; i < 3; ++i)
    if (chosen[i] > 0) ids.push_back(static_cast<float>(i + 1));
  e.expect("experts chosen", ids);
  e.expect("gates, renormalised", normalised);
  e.expect("softmax of the chosen logits", {normalised[0], normalised[2]});
  e.expect("gates, times 16", gates({.active = k, .scale = 16}));
  e.expect("sigmoid", gates({.active = 3, .score = GateScore::sigmoid}));
  MoeGateSpec sigmoid{.active = k, .score = GateScore::sigmoid, .normalised = true};
  e.expect("sigmoid gates, renormalised", gates(sigmoid));
  sigmoid.scale = 2.5;
  e.expect("sigmoid gates, renormalised, times 2.5", gates(sigmoid));
}

// One pair of components turns by one radian per position; `linear` scaling makes that the report's pi / 4. The
// printed dot product comes of rounded vectors.
TEST_P(WorkedExample, Number5Rope) {
  Example e(5);
  RopeSpec spec{.dim = 2, .scaling = RopeScaling::linear, .factor = 1 / e.number<double>("theta")};
  const auto turned = [&](const Vector& x, int position, RopePairing pairing) {
    const Tensor angles_TR = op.rope_angles(Machine::batch_of(position, 1), spec);
    return m.numbers(op.rope(m.tensor(x).split_heads(1), angles_TR, pairing));
  };
  for (const RopePairing pairing : {RopePairing::halves, RopePairing::pairs}) {
    const Vector q = turned(e.vector("q"), e.number<int>("m"), pairing),
                 k = turned(e.vector("k"), e.number<int>("n"), pairing);
    e.expect("q turned", q);
    e.expect("k turned", k);
    e.expect("dot", m.numbers(op.linear(m.tensor(q), {m.weight({k})})));
  }
}

// 16.97 is 12 times the root of 2; no logarithm of 4 gives it.
TEST_P(WorkedExample, Number6LogN) {
  Example e(6);
  const Tensor q = m.tensor(e.vector("Q"));
  const Weight k = m.weight({e.vector("K")});
  const Batch batch = Machine::batch_of(e.number<int>("N") - 1, 1);
  const float scale = 1 / std::sqrt(e.number<float>("d"));
  const auto score = [&](const LogNSpec& logn) {
    const Tensor scaled = op.scale_rows(q, op.logn_factors(batch, logn));
    return m.numbers(op.scale_rows(op.linear(scaled, {k}), m.tensor(Vector{scale})));
  };
  e.expect("q k", m.numbers(op.linear(q, {k})));
  e.expect("score", score({}));
  e.expect("score times ln N", score({.form = LogNSpec::Form::log}));
  const auto released = [&](int trained) { return score({LogNSpec::Form::released, trained}); };
  e.expect("released form, S = 2", released(2));
  e.expect("released form, S = 4", released(4));
  e.expect("score times log2 N", released(2));
  e.is_no_form_of_ours("score times log10 N");
}

// Uniform probabilities over what is visible, and values that say which key they belong to.
TEST_P(WorkedExample, Number7Window) {
  Example e(7);
  const auto i = e.number<size_t>("i");
  const int w = e.number<int>("w");
  const size_t tokens = 100;
  Matrix zeros(tokens, Vector(2)), one_hot(tokens, Vector(tokens));
  for (size_t t = 0; t < tokens; ++t) one_hot[t][t] = 1;
  const auto visible = [&](const AttendSpec& spec) {
    const Vector probabilities = m.attention(zeros, zeros, one_hot, 1, spec)[i];
    Vector keys;
    for (size_t t = 0; t < tokens; ++t)
      if (probabilities[t] > 0) keys.push_back(static_cast<float>(t));
    for (const float key : keys)
      EXPECT_FLOAT_EQ(probabilities[static_cast<size_t>(key)], 1.0f / static_cast<float>(keys.size()));
    return keys;
  };
  e.expect("symmetric", visible({.window = w + 1, .ahead = w}));
  e.expect("causal, w before and itself", visible({.window = w + 1}));
  e.expect("causal, w in all", visible({.window = w}));
}

// With the printed V the second entry is 0, not -0.135.
TEST_P(WorkedExample, Number8SwiGlu) {
  Example e(8);
  const Vector x = e.vector("x"), V = e.vector("V"), W = e.vector("W");
  const Activation swish{.beta = e.number<double>("beta")};
  const Tensor x_TD = m.tensor(x);
  e.expect("Swish(x)", m.numbers(op.activate(x_TD, swish)));
  e.expect("Swish(x) times the values multiplied",
           m.numbers(op.gated(x_TD, m.tensor(e.vector("values_multiplied")), swish)));
  e.expect("Swish(x) times x V, entry by entry",
           m.numbers(op.gated(x_TD, m.tensor(Vector{x[0] * V[0], x[1] * V[1]}), swish)));
  e.expect("Swish(xW) times xV, as matrices",
           m.numbers(op.gated(op.linear(x_TD, {m.weight({W})}), op.linear(x_TD, {m.weight({V})}), swish)));
}

// Printed with the digits cut off.
TEST_P(WorkedExample, Number9NormOfThree) {
  Example e(9);
  const Vector x = e.vector("x");
  const Vector y = m.numbers(op.rms_norm(m.tensor(x), m.vector({1, 1, 1}), e.number<double>("eps")));
  e.expect("normalised", y);
  e.expect("RMS", x[0] / y[0]);
}

TEST_P(WorkedExample, Number10ProjectionWithBias) {
  Example e(10);
  const Tensor x = m.tensor(e.vector("x"));
  e.expect("Q", m.numbers(op.linear(x, {m.columns_of(e.matrix("W")), m.vector(e.vector("b"))})));
}

// 0.018 needs a factor that the text does not have.
TEST_P(WorkedExample, Number11DynamicNtk) {
  Example e(11);
  const json& released = e.inputs().at("released");
  RopeSpec spec{.dim = released.at("d"), .base = released.at("base")};
  const size_t index = released.at("index");
  EXPECT_FLOAT_EQ(inverse_frequencies(spec, 1)[index], e.number<float>("theta"));

  spec.scaling = RopeScaling::log_ntk;
  spec.gamma = e.number<double>("gamma");
  e.expect("theta (1 + gamma ln N)", inverse_frequencies(spec, e.number<int>("N"))[index]);

  spec.scaling = RopeScaling::qwen_ntk;
  spec.trained_tokens = released.at("S");
  const float frequency = inverse_frequencies(spec, released.at("n"))[index];
  const double d = spec.dim, base = std::pow(frequency, -d / (2.0 * static_cast<double>(index)));
  e.expect("released form: frequency of index 32", frequency);
  e.expect("released form: base", static_cast<float>(base));
  e.expect("released form: alpha", static_cast<float>(std::pow(base / spec.base, (d - 2) / d)));

  e.is_no_form_of_ours("theta (1 + gamma log2 N)");
  e.is_no_form_of_ours("theta N^gamma");
  e.is_no_form_of_ours("theta (1 + gamma N / 1024)");
}

TEST_P(WorkedExample, Number12OutputProjectionWithBias) {
  Example e(12);
  const Vector h = e.vector("h");
  ModelWeights w;
  w.head.w = m.columns_of(e.matrix("W"));
  w.head.bias = m.vector(e.vector("b"));
  const Transformer model({.width = 2, .vocab = 2, .head_bias = true}, std::move(w));
  e.expect("logits", m.numbers(model.head(op, m.tensor(h))));
}

TEST_P(WorkedExample, Number13Embedding) {
  Example e(13);
  const auto ids = e.number<std::vector<int32_t>>("ids");
  e.expect("rows", m.numbers(op.embed(ids, m.weight(e.matrix("E")))));
}

INSTANTIATE_TEST_SUITE_P(Isa, WorkedExample, ::testing::ValuesIn(usable_kernels()),
                         [](const auto& info) { return std::string(info.param->isa); });

}  // namespace cachalot::testing
