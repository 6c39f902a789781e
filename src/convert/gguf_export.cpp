#include "convert/gguf_export.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "base/quote.h"
#include "formats/embedding_form.h"
#include "formats/foreign.h"
#include "formats/gguf/file.h"
#include "formats/gguf/tokenizer.h"
#include "formats/huggingface/chat_template.h"
#include "formats/huggingface/tiktoken.h"
#include "formats/huggingface/tokenizer.h"
#include "model/gguf_config.h"
#include "model/parameters.h"
#include "model/recipe.h"
#include "model/row_order.h"
#include "tensor/quant_blocks.h"

namespace cachalot {

namespace fs = std::filesystem;

// -- Tensors

int64_t ExportTensor::rows() const {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return rows;
}

DType ExportTensor::stored() const { return parts.empty() ? DType::f32 : parts[0].stored.dtype; }

bool ExportTensor::same_bytes(DType type) const {
  const auto as_it_is = [&](const MatrixPart& part) {
    return part.stored.dtype == type && !part.transposed && !part.stored.scales;
  };
  return interleaved_heads == 0 && !parts.empty() && std::all_of(parts.begin(), parts.end(), as_it_is);
}

static void read_part_row(const MatrixPart& part, int64_t row, float* out) {
  if (!part.transposed) return part.stored.read_rows(row, row + 1, out);
  std::vector<float> line(static_cast<size_t>(part.stored.columns()));
  for (int64_t i = 0; i < part.columns(); ++i) {
    part.stored.read_rows(i, i + 1, line.data());
    out[i] = line[static_cast<size_t>(row)];
  }
}

// A whole transposed part at once: element by element it would be decoded as often as it has columns.
static void read_transposed(const MatrixPart& part, float* out) {
  std::vector<float> all(static_cast<size_t>(part.rows() * part.columns()));
  part.stored.read_rows(0, part.stored.rows(), all.data());
  for (int64_t r = 0; r < part.rows(); ++r)
    for (int64_t c = 0; c < part.columns(); ++c) *out++ = all[static_cast<size_t>(c * part.rows() + r)];
}

void ExportTensor::read_rows(int64_t begin, int64_t end, float* out) const {
  if (parts.empty()) {
    std::copy(values.begin() + begin * columns(), values.begin() + end * columns(), out);
    return;
  }
  if (shape.size() == 1 && interleaved_heads > 0) {
    std::vector<float> model(static_cast<size_t>(columns()));
    parts[0].stored.read_rows(0, 1, model.data());
    for (int64_t i = 0; i < columns(); ++i)
      out[i] = model[static_cast<size_t>(model_row(i, columns(), interleaved_heads))];
    return;
  }
  const int64_t part_rows = rows() / std::ssize(parts);
  for (int64_t r = begin; r < end;) {
    const MatrixPart& part = parts[static_cast<size_t>(r / part_rows)];
    const int64_t first = r % part_rows;
    if (part.transposed && first == 0 && r + part_rows <= end) {
      read_transposed(part, out);
      r += part_rows, out += part_rows * columns();
    } else if (interleaved_heads == 0 && !part.transposed) {
      const int64_t count = std::min(end - r, part_rows - first);
      part.stored.read_rows(first, first + count, out);
      r += count, out += count * columns();
    } else {
      read_part_row(part, interleaved_heads > 0 ? model_row(first, part_rows, interleaved_heads) : first, out);
      ++r, out += columns();
    }
  }
}

namespace {

// -- From GGUF

// Keys that say how this file holds the model, not what the model is.
bool of_the_container(std::string_view key) {
  return key == "general.file_type" || key == "general.quantization_version" || key == "general.alignment" ||
         key.starts_with("split.");
}

// A tensor of integers is copied as it is, unless the model multiplies with it: then binding the model refuses it.
// What no family knows may be anything.
void check_integers(const Checkpoint& checkpoint, const Config& config, Families families) {
  const auto of_numbers = [](const StoredTensor& stored) { return can_dequantize(stored.dtype); };
  if (std::all_of(checkpoint.tensors().begin(), checkpoint.tensors().end(), of_numbers)) return;
  const Family* family = find_family(config, families);
  if (!family) return;
  ModelSpec spec = family->spec(config);
  keep_stored(*family, checkpoint, spec);
  bind_tensors(*family, spec, checkpoint, {});
}

// How many bytes they have is not known.
void refuse_opaque(const Checkpoint& checkpoint) {
  for (const StoredTensor& stored : checkpoint.tensors())
    if (stored.dtype == DType::opaque)
      throw Error(fmt::format("tensor {} is stored as {}, which is not read", quote(stored.name), stored.type_name()))
          .in(stored.file->path().string())
          .because("every tensor of a GGUF file is converted or copied")
          .hint("use a file quantized to Q2_K … Q8_0, IQ4_NL or IQ4_XS, or F16, BF16, F32");
}

Export from_gguf(const Checkpoint& checkpoint, Families families) {
  check_integers(checkpoint, model_config(checkpoint, families), families);
  refuse_opaque(checkpoint);
  Export e;
  for (const auto key : checkpoint.gguf()->keys())
    if (!of_the_container(key)) e.metadata.copy(*checkpoint.gguf(), key);
  for (const StoredTensor& stored : checkpoint.tensors())
    e.tensors.push_back({.name = stored.name,
                         .shape = stored.shape.empty() ? std::vector<int64_t>{1} : stored.shape,
                         .parts = {{stored}},
                         .values = {}});
  return e;
}

// -- From safetensors

// GGUF's name of a parameter. A family may list a slot more than once; the first name is the one that is written.
std::string gguf_name(const Family& family, const Parameter& p) {
  for (const SlotName& name : family.weights) {
    if (name.slot != p.slot || name.gguf.empty()) continue;
    std::string text(name.gguf);
    if (const auto at = text.find("{}"); at != text.npos) text.replace(at, 2, std::to_string(p.layer));
    return text + std::string(p.suffix);
  }
  throw Error(fmt::format("GGUF has no name for '{}' of family '{}'", p.slot, family.name));
}

std::vector<ExportTensor> tensors_of(const Family& family, const ModelSpec& spec, const Checkpoint& checkpoint) {
  const auto bound = bind_tensors(family, spec, checkpoint, {});
  const auto parameters = parameters_of(spec);  // the same walk
  CHECK(bound.size() == parameters.size());
  std::vector<ExportTensor> tensors;
  for (size_t i = 0; i < bound.size(); ++i) {
    const Parameter& p = parameters[i];
    CHECK(bound[i].slot == p.slot);
    const bool one_row = p.kind == Parameter::Kind::precise && p.rows == 1;  // stored as a vector there
    tensors.push_back({.name = gguf_name(family, p),
                       .shape = one_row ? std::vector<int64_t>{p.columns} : p.shape(),
                       .parts = bound[i].parts,
                       .values = {},
                       .interleaved_heads = interleaved_heads(family, spec, p)});
  }
  return tensors;
}

// Llama 3's scaling is stored as what the unscaled frequencies are divided by.
ExportTensor rope_divisors(std::string_view name, const RopeSpec& rope) {
  RopeSpec plain = rope;
  plain.scaling = RopeScaling::none;
  const auto unscaled = inverse_frequencies(plain, 0), scaled = inverse_frequencies(rope, 0);
  ExportTensor t{.name = std::string(name), .shape = {std::ssize(scaled)}, .parts = {}, .values = {}};
  for (size_t i = 0; i < scaled.size(); ++i)
    t.values.push_back(static_cast<float>(static_cast<double>(unscaled[i]) / static_cast<double>(scaled[i])));
  return t;
}

// Every token that ends an answer; first what the tokenizer adds to every text, which GGUF calls EOS, then its own.
std::vector<int> end_tokens(const Checkpoint& checkpoint, const Vocabulary& v) {
  std::vector<int> ends;
  const auto add = [&](int id) {
    if (std::find(ends.begin(), ends.end(), id) == ends.end()) ends.push_back(id);
  };
  if (v.add_eos && v.added_eos) add(*v.added_eos);
  if (v.eos) add(*v.eos);
  if (const fs::path file = checkpoint.path() / "generation_config.json"; is_there(file))
    for (const int id : Config::read(file).integers("eos_token_id")) add(id);
  for (const int id : checkpoint.config()->integers("eos_token_id")) add(id);
  return ends;
}

void add_tokenizer(const Checkpoint& checkpoint, int64_t rows, GgufMetadata& out) {
  if (!is_there(checkpoint.path() / "tokenizer.json") && !is_there(checkpoint.path() / kQwenTiktoken)) {
    warn("{}: there is no tokenizer, so the file gets none: it can compute, but not read text",
         checkpoint.path().string());
    return;
  }
  Vocabulary v = read_hf_vocabulary(checkpoint.path());
  const auto ends = end_tokens(checkpoint, v);
  if (!ends.empty()) v.eos = ends[0];
  write_gguf_vocabulary(v, rows, out);
  static constexpr const char* kOtherEnds[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
  for (size_t i = 1; i < ends.size() && i <= std::size(kOtherEnds); ++i)
    out.add(kOtherEnds[i - 1], static_cast<uint32_t>(ends[i]));
  if (ends.size() > 1 + std::size(kOtherEnds))
    warn("{}: GGUF has room for three tokens that end an answer, and the model has {}", checkpoint.path().string(),
         ends.size());
  const bool has_pad =
      std::any_of(v.named.begin(), v.named.end(), [](const auto& n) { return n.first == "pad_token"; });
  if (!has_pad && checkpoint.config()->has("pad_token_id"))
    out.add("tokenizer.ggml.padding_token_id", static_cast<uint32_t>(checkpoint.config()->integer("pad_token_id")));
  try {
    write_gguf_chat_templates(read_hf_chat_templates(checkpoint.path()), out);
  } catch (const Error& error) { warn("the file gets no chat template: {}", error.what()); }
}

// What a checkpoint for embeddings says of them, as far as the format has words for it.
void add_pooling(const Checkpoint& checkpoint, const std::string& architecture, GgufMetadata& out) {
  const EmbeddingForm form = read_embedding_form(checkpoint);
  if (form.refusal) return warn("the file does not say how embeddings are made: {}", form.refusal->what());
  if (form.said_by.empty()) return;
  out.add(architecture + ".pooling_type", gguf_pooling_type(form.pooling));
  if (!form.normalized)
    warn("{}: embeddings have the length that the model gives them; GGUF cannot say that", form.said_by);
}

// The recommended way to sample, where the checkpoint states it in numbers. Greedy is a temperature of 0.
void add_sampling(const Checkpoint& checkpoint, GgufMetadata& out) {
  const fs::path file = checkpoint.path() / "generation_config.json";
  if (!is_there(file)) return;
  const Config config = Config::read(file);
  const auto sample = config.json().find("do_sample");
  if (sample == config.json().end() || !sample->is_boolean() || !sample->get<bool>()) {
    out.add("general.sampling.temp", 0.0f);
    return;
  }
  static constexpr std::pair<const char*, const char*> kKeys[] = {
      {"temperature", "general.sampling.temp"},
      {"top_p", "general.sampling.top_p"},
      {"min_p", "general.sampling.min_p"},
      {"repetition_penalty", "general.sampling.penalty_repeat"}};
  for (const auto& [key, name] : kKeys)
    if (const auto value = config.json().find(key); value != config.json().end() && value->is_number())
      out.add(name, value->get<float>());
  if (const auto k = config.json().find("top_k"); k != config.json().end() && k->is_number_integer())
    out.add("general.sampling.top_k", static_cast<int32_t>(std::clamp<int64_t>(k->get<int64_t>(), -1, 1 << 30)));
}

Export from_safetensors(const Checkpoint& checkpoint, Families families) {
  const Config& config = *checkpoint.config();
  const Family& family = family_of(config, families);
  const auto architecture = gguf_architecture(family, config, families);
  ModelSpec spec = family.spec(config);
  spec.family = family.name;
  keep_stored(family, checkpoint, spec);

  Export e;
  e.metadata.add("general.architecture", architecture);
  e.metadata.add("general.type", "model");
  const fs::path folder = fs::weakly_canonical(checkpoint.path());
  e.metadata.add("general.name", folder.filename().string());
  add_gguf_metadata(family, config, spec, e.metadata);
  add_tokenizer(checkpoint, spec.vocab, e.metadata);
  add_pooling(checkpoint, std::string(architecture), e.metadata);
  add_sampling(checkpoint, e.metadata);
  e.tensors = tensors_of(family, spec, checkpoint);
  if (const RopeSpec& rope = spec.layers[0].rope(); rope.scaling == RopeScaling::llama3)
    e.tensors.push_back(rope_divisors(family.gguf.rope_divisors, rope));
  return e;
}

}  // namespace

Export gguf_export(const Checkpoint& checkpoint, Families families) {
  Export e = checkpoint.gguf() ? from_gguf(checkpoint, families) : from_safetensors(checkpoint, families);
  e.tied_head = true;
  for (const ExportTensor& tensor : e.tensors) {
    if (tensor.name == "output.weight") e.tied_head = false;
    e.layers = std::max(e.layers, layer_of(tensor.name) + 1);
  }
  return e;
}

}  // namespace cachalot
