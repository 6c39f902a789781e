#include "model/weights.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "model/parameters.h"
#include "model/row_order.h"
#include "tensor/quant_blocks.h"

namespace cachalot {

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

// Finds every parameter of a spec in the checkpoint, in the arrangement that it has there, and hands it to `load`.
class Binder {
 public:
  using Load = std::function<Weight(const BoundTensor&)>;
  Binder(const Family& family, const Checkpoint& checkpoint, const WeightsPolicy& policy, Load load)
      : family_(family), checkpoint_(checkpoint), policy_(policy), load_(std::move(load)) {}

  ModelWeights bind(const ModelSpec& spec) {
    if (checkpoint_.tensors().empty())
      throw Error("there are no weights")
          .in(checkpoint_.path().string())
          .because("it holds no tensor: a vocabulary alone");
    tied_head_ = spec.tied_head;
    spec_ = &spec;
    ModelWeights weights;
    for_each_parameter(spec, weights, [&](const Parameter& p, Weight& weight) { weight = load_(bound(p)); });
    check_leftovers(spec);
    return weights;
  }

  // The tensor of a slot in layer `layer`; nullptr when the checkpoint has none.
  const StoredTensor* find_in(int layer, std::string_view slot) {
    layer_ = layer;
    return find(slot);
  }

  // Whether the names are those of a class without a head.
  bool without_prefix() const {
    const StoredTensor* embed = find("embed");
    return embed && checkpoint_.container() == Container::safetensors && !embed->name.starts_with(base_prefix());
  }

 private:
  // -- Arrangements

  BoundTensor bound(const Parameter& p) {
    layer_ = p.layer;
    BoundTensor b{.slot = p.slot,
                  .parts = {},
                  .sources = {},
                  .shape = p.shape(),
                  .held_as = DType::f32,
                  .vectors = p.kind == Parameter::Kind::vector,
                  .used = p.used};
    if (p.within && is_within(p))
      add_rows_within(p, b);
    else if (p.stack > 0)
      add_stack(p, b);
    else
      add_single(p, b);
    b.held_as = p.held_as(policy_, common_type(b.sources));
    if (checkpoint_.gguf()) b.interleaved_heads = interleaved_heads(family_, *spec_, p);
    return b;
  }

  // bf16 for a stack of several types, which no kernel holds as it is.
  static DType common_type(std::span<const StoredTensor* const> sources) {
    const DType first = sources[0]->dtype;
    const auto other = [&](const StoredTensor* s) { return s->dtype != first; };
    return std::any_of(sources.begin(), sources.end(), other) ? DType::bf16 : first;
  }

  // Whether the checkpoint stores the parameter in its other arrangement, or should.
  bool is_within(const Parameter& p) const {
    return find(p.within->slot) || (!first_listed(p.slot) && first_listed(p.within->slot));
  }

  void add_rows_within(const Parameter& p, BoundTensor& b) {
    const Parameter::Within& w = *p.within;
    const StoredTensor& stored = required(w.slot, p.suffix, w.shape);
    b.sources = {&stored};
    if (b.vectors) {
      b.parts.push_back({stored.components(w.first, w.first + p.columns)});
      return;
    }
    const int64_t count = std::max<int64_t>(1, p.stack), rows = stored.rows() / count;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t first = i * rows + w.first;
      b.parts.push_back({stored.rows_part(first, first + (w.transposed ? p.columns : p.rows)), w.transposed});
    }
  }

  // One tensor, or one per expert.
  void add_stack(const Parameter& p, BoundTensor& b) {
    const auto shape = p.shape();
    if (per_expert(p.slot)) {
      for (expert_ = 0; expert_ < p.stack; ++expert_) {
        b.sources.push_back(&required(p.slot, p.suffix, {shape.begin() + 1, shape.end()}));
        b.parts.push_back({*b.sources.back()});
      }
      return;
    }
    const StoredTensor& stored = required(p.slot, p.suffix, shape);
    b.sources = {&stored};
    for (int64_t i = 0; i < p.stack; ++i) b.parts.push_back({stored.rows_part(i * p.rows, (i + 1) * p.rows)});
  }

  // A matrix of one row may be stored as a vector.
  void add_single(const Parameter& p, BoundTensor& b) {
    const StoredTensor* found = p.rows == 1 ? find(p.slot, p.suffix) : nullptr;
    const bool flat = found && found->shape.size() == 1;
    b.sources = {&required(p.slot, p.suffix, flat ? std::vector<int64_t>{p.columns} : p.shape())};
    b.parts.push_back({*b.sources[0]});
  }

  // -- Names

  // Whether the tensors of a slot are stored expert by expert. A family that lists a slot twice has both: the first
  // name that the checkpoint knows counts.
  bool per_expert(std::string_view slot) {
    expert_ = 0;
    const SlotName* name = listed(slot, ".weight");
    return pattern_of(name ? *name : expected(slot)).find("{e}") != std::string_view::npos;
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

  // A tensor named so, with the suffix or, as transformers saves its fused experts, without. A class without a head
  // saves the same names less the prefix.
  const StoredTensor* find_named(std::string name, std::string_view suffix) const {
    for (;;) {
      if (const StoredTensor* stored = checkpoint_.find(name + std::string(suffix))) return stored;
      if (const StoredTensor* stored = suffix == ".weight" ? checkpoint_.find(name) : nullptr) return stored;
      if (!name.starts_with(base_prefix())) return nullptr;
      name.erase(0, base_prefix().size());
    }
  }

  // "model.", where the name of the embedding begins with it.
  std::string_view base_prefix() const {
    const std::string_view embed = pattern_of(expected("embed"));
    const auto dot = embed.find('.');
    return dot == embed.npos ? "\n" : embed.substr(0, dot + 1);  // no name begins with a new line
  }

  // The slot's name that the checkpoint has a tensor for; nullptr when none.
  const SlotName* listed(std::string_view slot, std::string_view suffix) const {
    for (const SlotName& name : family_.weights)
      if (name.slot == slot && !pattern_of(name).empty() && find_named(stored_name(name), suffix)) return &name;
    return nullptr;
  }
  // The first name that the slot has in this container; nullptr when none.
  const SlotName* first_listed(std::string_view slot) const {
    for (const SlotName& name : family_.weights)
      if (name.slot == slot && !pattern_of(name).empty()) return &name;
    return nullptr;
  }
  const SlotName& expected(std::string_view slot) const {
    const SlotName* name = first_listed(slot);
    CHECK(name, "family {} has no slot {}", family_.name, slot);
    return *name;
  }

  const StoredTensor* find(std::string_view slot, std::string_view suffix = ".weight") const {
    if (const SlotName* name = listed(slot, suffix)) return find_named(stored_name(*name), suffix);
    return slot == "embed" && tied_head_ ? find("head", suffix)
                                         : nullptr;  // some savers keep the other name of the two
  }

  const StoredTensor& required(std::string_view slot, std::string_view suffix, const std::vector<int64_t>& shape) {
    const StoredTensor* stored = find(slot, suffix);
    if (!stored)
      throw Error(fmt::format("tensor '{}{}' is missing", stored_name(expected(slot)), suffix))
          .in(checkpoint_.path().string())
          .because(fmt::format("a model of family '{}' with this config needs it, of shape [{}]{}", family_.name,
                               fmt::join(shape, ", "),
                               slot == "head" ? "; it is the embedding only where tie_word_embeddings is true" : ""))
          .hint("the download may be incomplete; compare with `cachalot inspect --tensors`");
    if (!can_dequantize(stored->dtype)) throw no_numbers(*stored);
    if (stored->shape != shape)
      throw Error(fmt::format("tensor '{}' has shape [{}], but [{}] was expected", stored->name,
                              fmt::join(stored->shape, ", "), fmt::join(shape, ", ")))
          .in(stored->file ? stored->file->path().string() : checkpoint_.path().string())
          .because(fmt::format("{} says so", checkpoint_.stated_in()))
          .hint("the config and the weights look like two different models; compare them with `cachalot inspect`");
    used_.insert(stored);
    return *stored;
  }

  Error no_numbers(const StoredTensor& stored) const {
    const bool opaque = stored.dtype == DType::opaque, gguf = checkpoint_.container() == Container::gguf;
    return Error(fmt::format("tensor '{}' is stored as {}, which {}", stored.name, stored.type_name(),
                             opaque ? "is not read" : "no weights are"))
        .in(stored.file ? stored.file->path().string() : checkpoint_.path().string())
        .because(
            fmt::format("a model of family '{}' multiplies with it: floating-point numbers or blocks of them are due",
                        family_.name))
        .hint(opaque && gguf ? "use a file quantized to Q2_K … Q8_0, IQ4_NL or IQ4_XS, or F16, BF16, F32"
                             : "use the checkpoint as it was before its weights were packed or became integers, or a "
                               "GGUF file of the same model");
  }

  // The module for the token after the next, when the run does not use it.
  bool of_unused_mtp(const StoredTensor& tensor, const ModelSpec& spec) const {
    const auto layers = static_cast<int>(spec.layers.size());
    for (int layer = layers + static_cast<int>(spec.mtp.size()); layer < layers + spec.stored_mtp; ++layer)
      for (const std::string_view prefix : {"model.layers.", "layers.", "blk."})
        if (tensor.name.starts_with(fmt::format("{}{}.", prefix, layer))) return true;
    return false;
  }

  // Tensors that carry nothing the model lacks: without numbers (an expert of no width), the copy that a tied head is
  // (keep_stored has compared it), or what the family lists.
  bool ignored(const StoredTensor& tensor) const {
    if (tensor.elements() == 0 || (tied_head_ && &tensor == find("head"))) return true;
    const std::string whole = std::string(base_prefix()) + tensor.name;
    return std::any_of(family_.ignored.begin(), family_.ignored.end(), [&](const IgnoredTensor& i) {
      return matches(i.pattern, tensor.name) || matches(i.pattern, whole);
    });
  }

  void check_leftovers(const ModelSpec& spec) const {
    std::vector<std::string> unknown;
    for (const StoredTensor& tensor : checkpoint_.tensors())
      if (!used_.contains(&tensor) && !of_unused_mtp(tensor, spec) && !ignored(tensor))
        unknown.push_back(tensor.name);
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
  const ModelSpec* spec_ = nullptr;
  int layer_ = 0;
  int64_t expert_ = 0;
  bool tied_head_ = false;
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

// Whether two matrices hold the same numbers, whatever their types.
static bool same_numbers(const StoredTensor& a, const StoredTensor& b) {
  if (a.shape != b.shape) return false;
  if (a.dtype == b.dtype && !a.scales && !b.scales)
    return a.bytes.size() == b.bytes.size() && std::memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) == 0;
  if (!can_dequantize(a.dtype) || !can_dequantize(b.dtype)) return false;  // whoever loads them says so
  std::vector<float> row_a(static_cast<size_t>(a.columns())), row_b = row_a;
  for (int64_t r = 0; r < a.rows(); ++r) {
    a.read_rows(r, r + 1, row_a.data());
    b.read_rows(r, r + 1, row_b.data());
    if (row_a != row_b) return false;
  }
  return true;
}

void keep_stored(const Family& family, const Checkpoint& checkpoint, ModelSpec& spec) {
  const WeightsPolicy policy;
  Binder binder(family, checkpoint, policy, {});
  const auto last = static_cast<int>(spec.layers.size());
  if (!spec.mtp.empty() && !binder.find_in(last, "mtp.combine")) spec.mtp.clear();
  if (!spec.tied_head) {
    spec.headless = binder.without_prefix() && !binder.find_in(0, "head");
    return;
  }
  const StoredTensor *head = binder.find_in(0, "head"), *embed = binder.find_in(0, "embed");
  if (!head || !embed) return;
  spec.tied_head = same_numbers(*head, *embed);
  checkpoint.release(*head);
  if (!spec.tied_head)
    warn(
        "{}: '{}' is no copy of '{}', so it is used, although the config says that they are one "
        "(tie_word_embeddings)",
        checkpoint.path().string(), head->name, embed->name);
}

// The parts with their rows in the model's order; what was copied for it goes away with them.
static Weight load_parts(const BoundTensor& tensor, std::span<const MatrixPart> parts, Ops& ops) {
  if (!tensor.vectors)
    return tensor.shape.size() == 2 ? ops.load_matrix(parts[0], tensor.held_as)
                                    : ops.load_matrices(parts, tensor.held_as);
  if (tensor.shape.size() == 1) return ops.load_vector(parts[0].stored);
  std::vector<StoredTensor> vectors;
  vectors.reserve(parts.size());
  for (const MatrixPart& part : parts) vectors.push_back(part.stored);
  return ops.load_vectors(vectors);
}

static Weight load_bound(const BoundTensor& tensor, Ops& ops) {
  if (tensor.interleaved_heads == 0) return load_parts(tensor, tensor.parts, ops);
  std::vector<MatrixPart> ordered;
  for (const MatrixPart& part : tensor.parts)
    ordered.push_back({in_model_order(part.stored, tensor.interleaved_heads)});
  return load_parts(tensor, ordered, ops);
}

ModelWeights load_weights(const Family& family, const ModelSpec& spec, const Checkpoint& checkpoint,
                          const WeightsPolicy& policy, Ops& ops,
                          const std::function<void(int64_t, int64_t)>& progress) {
  int64_t total_bytes = 0, done_bytes = 0;
  for (const BoundTensor& tensor : bind_tensors(family, spec, checkpoint, policy))
    total_bytes += tensor.stored_bytes();
  ModelWeights weights = Binder(family, checkpoint, policy, [&](const BoundTensor& tensor) {
                           Weight weight = load_bound(tensor, ops);
                           for (const StoredTensor* source : tensor.sources) checkpoint.release(*source);
                           done_bytes += tensor.stored_bytes();
                           progress(done_bytes, total_bytes);
                           return weight;
                         }).bind(spec);
  if (spec.tied_head) weights.head.w = weights.embed_WD;
  return weights;
}

}  // namespace cachalot
