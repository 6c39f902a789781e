// Llama 2 and 3 with R1-Distill-Llama: grouped-query attention, SwiGLU, no biases unless the config asks for them.
#include <nlohmann/json.hpp>

#include "model/family.h"
#include "model/gguf_reader.h"

namespace cachalot {

static const Defaults kDefaults = {
    {"max_position_embeddings", 2048}, {"rms_norm_eps", 1e-6}, {"attention_bias", false}, {"mlp_bias", false}};

static ModelSpec spec(const Config& config) {
  const Config c = config.with_defaults(kDefaults);
  const bool bias = c.boolean_or("attention_bias", false);
  return dense_decoder_spec(c, {.qkv_bias = bias, .out_bias = bias, .rope = {.pairing = RopePairing::halves}},
                            c.boolean_or("mlp_bias", false));
}

static void complete(const GgufReader& in, nlohmann::json& config) {
  complete_gqa(in, config);
  if (in.integer_or("expert_count", 0, 0) == 0) return;
  config["architectures"] = nlohmann::json::array({"MixtralForCausalLM"});  // which shares the name
  config["model_type"] = "mixtral";
}

extern const Family kLlama;
const Family kLlama = {.name = "llama",
                       .hf_classes = {"LlamaForCausalLM", "LlamaModel"},
                       .spec = spec,
                       .weights = decoder_names(),
                       .ignored = {{"*.rotary_emb.inv_freq", "computed from the config"},
                                   {"rope_freqs.weight", "GGUF's RoPE divisors; the config carries them"}},
                       .gguf = {.architecture = "llama",
                                .keys = decoder_keys({gqa_keys()}),
                                .biases = {{"attention_bias", "attn.q"}, {"mlp_bias", "ffn.gate"}},
                                .complete = complete,
                                .interleaved = {"attn.q", "attn.k"},
                                .rope_divisors = "rope_freqs.weight",
                                .usual_pre_tokenizer = "llama-bpe"},
                       .replies = {.calls = {CallForm::llama_json, CallForm::tagged_json, CallForm::deepseek_v3}}};

}  // namespace cachalot
