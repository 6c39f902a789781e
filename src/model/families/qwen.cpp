// Qwen1 (Qwen-1.8B, 7B, 14B, 72B with their chat models, 2023): one matrix for q, k and v with a bias, SwiGLU whose
// stated width is twice the real one, dynamic NTK and LogN attention past the training length.
// Source: arXiv:2309.16609; the modelling code released with the checkpoints.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "model/family.h"
#include "model/gguf_reader.h"

namespace cachalot {

static RopeSpec rope(const Config& c, int head_dim) {
  if (const double part = c.number("rotary_pct"); part != 1)
    throw Error(fmt::format("rotary_pct {} is not supported", part)).in(c.where());
  if (head_dim % 2 != 0)
    throw Error(fmt::format("a head of {} components cannot be rotated in pairs", head_dim)).in(c.where());
  RopeSpec rope{.dim = head_dim, .base = positive(c, "rotary_emb_base"), .pairing = RopePairing::halves};
  if (c.boolean_or("use_dynamic_ntk", false)) {
    rope.scaling = RopeScaling::qwen_ntk;
    rope.trained_tokens = c.integer("seq_length", 1);
  }
  return rope;
}

// configuration_qwen.py, released with the checkpoints. It has no seq_length, which the modelling code needs.
static const Defaults kDefaults = {
    {"max_position_embeddings", 8192}, {"layer_norm_epsilon", 1e-6}, {"kv_channels", 128},    {"rotary_pct", 1.0},
    {"rotary_emb_base", 10000},        {"use_dynamic_ntk", true},    {"use_logn_attn", true}, {"no_bias", true}};

static ModelSpec spec(const Config& config) {
  const Config c = config.with_defaults(kDefaults);
  ModelSpec m;
  m.width = c.integer("hidden_size", 1, 1 << 20);
  m.vocab = c.integer("vocab_size", 1, 1 << 24);
  m.context = c.integer("max_position_embeddings", 1);
  m.norm_eps = positive(c, "layer_norm_epsilon");
  m.tied_head = c.boolean_or("tie_word_embeddings", false);
  if (!c.boolean_or("no_bias", false))
    throw Error("no_bias false is not supported").in(c.where()).because("no released checkpoint has these biases");

  GqaSpec attention{.heads = c.integer("num_attention_heads", 1, 1 << 16), .qkv_bias = true};
  attention.kv_heads = attention.heads;
  attention.head_dim = c.integer("kv_channels", 1, 1 << 16);
  attention.rope = rope(c, attention.head_dim);
  if (c.boolean_or("use_logn_attn", false))
    attention.logn = {.form = LogNSpec::Form::released, .trained_tokens = c.integer("seq_length", 2)};

  const int both = c.integer("intermediate_size", 2);
  if (both % 2 != 0)
    throw Error("intermediate_size is odd, but it is twice the width of the feed-forward").in(c.where());
  m.layers.assign(static_cast<size_t>(c.integer("num_hidden_layers", 1, 4096)),
                  {attention, FfnSpec{.hidden = both / 2, .form = {}, .bias = false}});
  return m;
}

// -- GGUF

static const std::vector<GgufKey> kKeys = {
    // config.json            GGUF                                   spec
    {"num_hidden_layers", "block_count", [](const ModelSpec& m) { return static_cast<int>(m.layers.size()); }},
    {"max_position_embeddings", "context_length", &ModelSpec::context},
    {"hidden_size", "embedding_length", &ModelSpec::width},
    {"vocab_size", "vocab_size", &ModelSpec::vocab, {.absent = Absent::left_out}},
    {"num_attention_heads", "attention.head_count", &GqaSpec::heads, {.per_layer = true}},
    {"kv_channels", "attention.key_length", &GqaSpec::head_dim, {.absent = Absent::left_out}},
    {"layer_norm_epsilon", "attention.layer_norm_rms_epsilon", &ModelSpec::norm_eps},
    {"layer_norm_epsilon", "attention.layer_norm_epsilon", &ModelSpec::norm_eps},
    {"rotary_emb_base", "rope.freq_base", &RopeSpec::base, {.absent = 10000.0}},
    {"intermediate_size",
     "feed_forward_length",
     [](const ModelSpec& m) { return 2 * std::get<FfnSpec>(m.layers[0].ffn).hidden; },
     {.per_layer = true}}};

static void complete(const GgufReader& in, nlohmann::json& config) {
  complete_heads(in, "kv_channels", config);
  config["no_bias"] = true;
  // The format has no keys for NTK and LogN. What released them: 1.8B, 7B and 14B (told by its width) have both
  // from the length they were trained at, 72B (told by its base) has neither.
  const bool scaled = config["rotary_emb_base"] == 10000.0, is_14b = config["hidden_size"] == 5120;
  const auto trained = std::min<int64_t>(is_14b ? 2048 : 8192, config["max_position_embeddings"].get<int64_t>());
  config["seq_length"] = trained;
  config["use_dynamic_ntk"] = config["use_logn_attn"] = scaled;
  warn("{}: GGUF cannot say how Qwen1 reads long texts; assumed: dynamic NTK and LogN {} {} tokens",
       in.file().where(), scaled ? "from" : "off, trained at", trained);
}

// -- Chats: ChatML as make_context of the released qwen_generation_utils.py writes it, with the system text of
// chat(). That code encodes "ROLE\n" and the content apart: a content that begins with a newline gives other ids
// there. generation_config.json names no end but <|endoftext|>; the code adds the two marks of a turn.

static constexpr std::string_view kChatMl =
    "{%- if messages and messages[0]['role'] == 'system' -%}\n"
    "    {%- set system = messages[0]['content'] -%}\n"
    "    {%- set turns = messages[1:] -%}\n"
    "{%- else -%}\n"
    "    {%- set system = 'You are a helpful assistant.' -%}\n"
    "    {%- set turns = messages -%}\n"
    "{%- endif -%}\n"
    "{{- '<|im_start|>system\\n' ~ system ~ '<|im_end|>' -}}\n"
    "{%- for turn in turns -%}\n"
    "    {{- '\\n<|im_start|>' ~ turn['role'] ~ '\\n' ~ turn['content'] ~ '<|im_end|>' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}\n"
    "    {{- '\\n<|im_start|>assistant\\n' -}}\n"
    "{%- endif -%}\n";

extern const Family kQwen;
const Family kQwen = {.name = "qwen",
                      .hf_classes = {"QWenLMHeadModel", "QWenModel"},
                      .spec = spec,
                      .weights =
                          {// slot       safetensors                    GGUF
                           {"embed", "transformer.wte", "token_embd"},
                           {"attn.norm", "transformer.h.{}.ln_1", "blk.{}.attn_norm"},
                           {"attn.qkv", "transformer.h.{}.attn.c_attn", "blk.{}.attn_qkv"},
                           {"attn.out", "transformer.h.{}.attn.c_proj", "blk.{}.attn_output"},
                           {"ffn.norm", "transformer.h.{}.ln_2", "blk.{}.ffn_norm"},
                           {"ffn.gate", "transformer.h.{}.mlp.w2", "blk.{}.ffn_gate"},
                           {"ffn.up", "transformer.h.{}.mlp.w1", "blk.{}.ffn_up"},
                           {"ffn.down", "transformer.h.{}.mlp.c_proj", "blk.{}.ffn_down"},
                           {"norm", "transformer.ln_f", "output_norm"},
                           {"head", "lm_head", "output"}},
                      .ignored = {{"*.rotary_emb.inv_freq", "computed from the config"}},
                      .gguf = {.architecture = "qwen",
                               .keys = kKeys,
                               .complete = complete,
                               .read_only = true,  // the guesses of complete() would read it otherwise
                               .usual_pre_tokenizer = "qwen2"},
                      .chat = {.name = "chatml", .chat_template = kChatMl, .ends = {"<|im_end|>", "<|im_start|>"}}};

}  // namespace cachalot
