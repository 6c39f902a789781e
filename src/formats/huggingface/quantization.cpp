#include "formats/huggingface/quantization.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/quote.h"

namespace cachalot {

namespace {

constexpr std::string_view kScaleSuffix = "_scale_inv";
constexpr int kLargestBlock = 1 << 20;

constexpr std::string_view kUnquantized =
    "use the unquantized checkpoint (bf16 or f16), or a GGUF file of the same model";

Error refused(const Config& config, std::string what, std::string_view why) {
  return Error(std::move(what)).in(config.where()).because(why).hint(kUnquantized);
}

Error unknown_method(const Config& config, const std::string& method) {
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"gptq", "GPTQ"},
      {"awq", "AWQ"},
      {"bitsandbytes", "bitsandbytes"},
      {"compressed-tensors", "compressed-tensors"},
      {"mxfp4", "MXFP4"},
      {"modelopt", "ModelOpt"},
      {"exl2", "ExLlamaV2"},
      {"exl3", "ExLlamaV3"},
      {"hqq", "HQQ"},
      {"torchao", "torchao"},
      {"quanto", "Quanto"},
      {"auto-round", "AutoRound"},
      {"bitnet", "BitNet"}};
  std::string shown = quote(method);
  for (const auto& [known, name] : kNames)
    if (method == known) shown = name;
  return refused(config, fmt::format("the weights are quantized with {}, which is not read", shown),
                 "quantization_config: quant_method = " + quote(method));
}

// A key of the FP8 configuration that must have one of the values known.
void expect(const Config& config, const Config& fp8, std::string_view key,
            std::initializer_list<std::string_view> known) {
  const std::string value = fp8.text_or(key, *known.begin());
  if (std::find(known.begin(), known.end(), value) == known.end())
    throw refused(config, fmt::format("FP8 weights with {} = {} are not read", key, quote(value)),
                  fmt::format("quantization_config: {} is read", fmt::join(known, " or ")));
}

std::string shape_text(const std::vector<int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

// One factor per block of each matrix: the last two dimensions in blocks, those before them as they are.
std::vector<int64_t> scale_shape(std::vector<int64_t> shape, const Fp8Blocks& blocks) {
  int64_t &rows = shape[shape.size() - 2], &columns = shape.back();
  rows = rows / blocks.rows + (rows % blocks.rows != 0);
  columns = columns / blocks.columns + (columns % blocks.columns != 0);
  return shape;
}

BlockScales scales_of(const StoredTensor& weight, const StoredTensor& scale, const Fp8Blocks& blocks) {
  const auto expected = scale_shape(weight.shape, blocks);
  const auto problem = [&](const std::string& what) {
    return Error(fmt::format("tensor {} {}", quote(scale.name), what)).in(scale.file->path().string());
  };
  if (scale.dtype != DType::f32 && scale.dtype != DType::bf16 && scale.dtype != DType::f16)
    throw problem(fmt::format("has dtype {}, but f32, bf16 or f16 was expected", scale.type_name()));
  if (scale.shape != expected)
    throw problem(fmt::format("has shape {}, but {} was expected", shape_text(scale.shape), shape_text(expected)))
        .because(fmt::format("{} is {} in blocks of {} x {}", quote(weight.name), shape_text(weight.shape),
                             blocks.rows, blocks.columns));
  return {.dtype = scale.dtype,
          .bytes = scale.bytes,
          .file = scale.file,
          .block_rows = blocks.rows,
          .block_columns = blocks.columns,
          .grid_rows = expected[expected.size() - 2],
          .grid_columns = expected.back(),
          .matrix_rows = weight.shape[weight.shape.size() - 2]};
}

// MLX says so under a key of its own, and lately a second time under the usual one, without a name for it.
void refuse_mlx(const Config& config) {
  for (const char* key : {"quantization", "quantization_config"}) {
    const auto said = config.object(key);
    if (!said || said->has("quant_method") || !said->has("group_size") || !said->has("bits")) continue;
    throw refused(
        config, "the weights are quantized with MLX, which is not read",
        fmt::format("{}: {} bits in groups of {}", key, said->integer("bits"), said->integer("group_size")));
  }
}

// Tensors that only quantized weights come with, where config.json is silent.
struct PackedName {
  std::string_view ending, method;
};
constexpr PackedName kPackedNames[] = {
    {".qweight", "GPTQ or AWQ"},
    {".weight_packed", "compressed-tensors"},
    {".weight.quant_map", "bitsandbytes"},
    {".weight.absmax", "bitsandbytes"},
    {".weight.SCB", "bitsandbytes"},
    {".SCB", "bitsandbytes"},
    {".weight_scale", "another FP8 than DeepSeek's, or another method"},
    {".q_scale", "ExLlama"},
    {".weight_scale_2", "ModelOpt"},
    {".trellis", "ExLlamaV3"},
};

}  // namespace

void refuse_packed_weights(const std::vector<StoredTensor>& tensors, const std::filesystem::path& folder) {
  for (const StoredTensor& tensor : tensors)
    for (const PackedName& name : kPackedNames)
      if (tensor.name.ends_with(name.ending))
        throw Error(fmt::format("the weights are quantized with {}, which is not read", name.method))
            .in(folder.string())
            .because("there is a tensor " + quote(tensor.name))
            .hint(kUnquantized);
}

std::optional<Fp8Blocks> fp8_blocks(const Config& config) {
  refuse_mlx(config);
  const auto quantization = config.object("quantization_config");
  if (!quantization) return std::nullopt;
  std::string method = quantization->text_or("quant_method", "");
  if (method.empty() &&
      (quantization->boolean_or("load_in_4bit", false) || quantization->boolean_or("load_in_8bit", false)))
    method = "bitsandbytes";
  if (method != "fp8") throw unknown_method(config, method);
  expect(config, *quantization, "fmt", {"e4m3"});
  expect(config, *quantization, "activation_scheme", {"dynamic"});
  // How activations would be quantized, which they are not: the weights' factors say themselves what they are.
  expect(config, *quantization, "scale_fmt", {"float", "ue8m0"});
  if (!quantization->has("weight_block_size"))
    throw refused(config, "FP8 weights with one factor per tensor are not read",
                  "quantization_config has no weight_block_size");
  const auto size = quantization->integers("weight_block_size");
  const auto whole = [](int n) { return n >= 1 && n <= kLargestBlock; };
  if (size.size() != 2 || !whole(size[0]) || !whole(size[1]) || size[1] % kFp8BlockColumns != 0)
    throw refused(config, fmt::format("weight_block_size = [{}]", fmt::join(size, ", ")),
                  fmt::format("[rows, columns] is expected, at most {}, columns a multiple of {}", kLargestBlock,
                              kFp8BlockColumns));
  return Fp8Blocks{size[0], size[1]};
}

void attach_scales(std::vector<StoredTensor>& tensors, const std::optional<Fp8Blocks>& blocks, const Config& config) {
  std::unordered_map<std::string_view, const StoredTensor*> scales;
  for (const StoredTensor& tensor : tensors)
    if (tensor.name.ends_with(kScaleSuffix)) scales.emplace(tensor.name, &tensor);

  std::unordered_set<const StoredTensor*> taken;
  for (StoredTensor& weight : tensors) {
    if (weight.dtype != DType::f8_e4m3 && weight.dtype != DType::f8_e5m2) continue;
    const auto problem = [&](std::string_view what) {
      return Error(fmt::format("tensor {} {}", quote(weight.name), what)).in(weight.file->path().string());
    };
    if (weight.dtype == DType::f8_e5m2) throw problem("is of type f8_e5m2, which is not read");
    if (!blocks)
      throw problem("is of type f8_e4m3, but nothing says what its numbers are multiplied by")
          .because(config.where() + " has no quantization_config")
          .hint("fetch config.json again; FP8 checkpoints are published with it");
    if (weight.shape.size() < 2) throw problem("is of type f8_e4m3, but no matrix");
    const std::string scale_name = weight.name + std::string(kScaleSuffix);
    const auto scale = scales.find(scale_name);
    if (scale == scales.end())
      throw problem("has no factors")
          .because(fmt::format("it is of type f8_e4m3, and no file holds {}", quote(scale_name)))
          .hint("the download may be incomplete; fetch the missing files");
    weight.scales = scales_of(weight, *scale->second, *blocks);
    taken.insert(scale->second);
  }
  std::erase_if(tensors, [&](const StoredTensor& tensor) { return taken.contains(&tensor); });
}

}  // namespace cachalot
