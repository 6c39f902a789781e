#include "load/sampling_defaults.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/quote.h"
#include "formats/foreign.h"
#include "formats/gguf/file.h"

namespace cachalot {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

struct Recommended {
  std::string_view parameter, hf_key, gguf_key;
  double SamplingParams::* number;
  int SamplingParams::* integer;
};
constexpr Recommended kRecommended[] = {
    {"temperature", "temperature", "general.sampling.temp", &SamplingParams::temperature, nullptr},
    {"top_k", "top_k", "general.sampling.top_k", nullptr, &SamplingParams::top_k},
    {"top_p", "top_p", "general.sampling.top_p", &SamplingParams::top_p, nullptr},
    {"min_p", "min_p", "general.sampling.min_p", &SamplingParams::min_p, nullptr},
    {"repeat_penalty", "repetition_penalty", "general.sampling.penalty_repeat", &SamplingParams::repeat_penalty,
     nullptr},
};

// Of GGUF: what llama.cpp does and this engine does not, and the value that asks for nothing.
struct NotFollowed {
  std::string_view key;
  double off;
};
constexpr NotFollowed kNotFollowed[] = {{"general.sampling.xtc_probability", 0}, {"general.sampling.mirostat", 0}};

// Of generation_config.json: what transformers' generate() does and this engine does not, and the value, beside null,
// that asks for nothing.
struct HfNotFollowed {
  std::string_view key, off;  // as JSON
  bool sampling_only = false;
};
constexpr HfNotFollowed kHfNotFollowed[] = {
    {"num_beams", "1"},
    {"num_beam_groups", "1"},
    {"num_return_sequences", "1"},
    {"penalty_alpha", "0"},
    {"min_new_tokens", "0"},
    {"min_length", "0"},
    {"no_repeat_ngram_size", "0"},
    {"encoder_repetition_penalty", "1"},
    {"exponential_decay_length_penalty", "[]"},
    {"bad_words_ids", "[]"},
    {"sequence_bias", "[]"},
    {"suppress_tokens", "[]"},
    {"begin_suppress_tokens", "[]"},
    {"forced_bos_token_id", "[]"},
    {"forced_eos_token_id", "[]"},
    {"stop_strings", "[]"},
    {"typical_p", "1", true},
    {"epsilon_cutoff", "0", true},
    {"eta_cutoff", "0", true},
    {"top_h", "[]", true},
    {"guidance_scale", "1"},
};

std::string shown(const json& value) {
  const std::string text = quote(value.dump(-1, ' ', true), 60);
  return text.substr(1, text.size() - 2);
}

// The parameters with one of them as the value says; none when it is no number or out of range.
std::optional<SamplingParams> with(const Recommended& r, const json& value, SamplingParams params) {
  if (!value.is_number()) return std::nullopt;
  const double number = value.get<double>();
  if (r.integer && (std::nearbyint(number) != number || std::abs(number) > 1 << 30)) return std::nullopt;
  SamplingParams alone;
  (r.integer ? alone.*r.integer = static_cast<int>(number) : alone.*r.number = number);
  try {
    alone.check();
  } catch (const Error&) { return std::nullopt; }
  (r.integer ? params.*r.integer = static_cast<int>(number) : params.*r.number = number);
  return params;
}

void take(const Recommended& r, std::string_view key, const json& value, const std::string& where,
          SamplingDefaults& d) {
  if (value.is_null()) return;
  if (const auto params = with(r, value, d.params)) {
    d.params = *params;
    return;
  }
  const std::string instead = r.integer                      ? fmt::format("{} (off)", d.params.*r.integer)
                              : r.parameter == "temperature" ? "1"
                                                             : fmt::format("{} (off)", d.params.*r.number);
  d.unusable.push_back({r.parameter, fmt::format("{}: {} = {} cannot be used; {} is taken instead", where, key,
                                                 shown(value), instead)});
}

// -- generation_config.json

fs::path generation_file(const Checkpoint& checkpoint) { return checkpoint.path() / "generation_config.json"; }

void read_hf_not_followed(const Config& g, SamplingDefaults& d) {
  for (const HfNotFollowed& other : kHfNotFollowed) {
    if (!g.has(other.key)) continue;
    const json& value = g.json()[std::string(other.key)];
    if (value.is_null() || value == json::parse(other.off)) continue;
    if (other.sampling_only && d.params.temperature == 0) continue;
    d.unusable.push_back({"", fmt::format("{}: {} = {} is not followed; there is no such thing here", g.where(),
                                          other.key, shown(value))});
  }
}

void read_hf(const Config& g, SamplingDefaults& d) {
  const auto value = [&](std::string_view key) { return g.has(key) ? g.json()[std::string(key)] : json(); };
  for (const Recommended& r : kRecommended) take(r, r.hf_key, value(r.hf_key), g.where(), d);
  const json sample = value("do_sample"), most = value("max_new_tokens");
  if (!sample.is_boolean() || !sample.get<bool>()) {
    d.params.temperature = 0;  // and what was said of it does not matter
    std::erase_if(d.unusable, [](const UnusableDefault& u) { return u.parameter == "temperature"; });
  }
  if (!sample.is_null() && !sample.is_boolean())
    d.unusable.push_back({"temperature", fmt::format("{}: do_sample = {} is neither true nor false; false is taken",
                                                     g.where(), shown(sample))});
  if (most.is_number_integer() && most.get<double>() >= 1 && most.get<double>() <= 1 << 30)
    d.max_tokens = most.get<int>();
  read_hf_not_followed(g, d);
}

// -- GGUF

// A number as the decimal that was meant, since files hold f32; a text where another type is stored.
json stored_value(const GgufFile& file, std::string_view key) {
  if (!file.has(key)) return {};
  try {
    const double number = file.number(key);
    const auto narrow = static_cast<float>(number);
    return narrow == number ? std::stod(fmt::format("{}", narrow)) : number;
  } catch (const Error&) { return "no finite number"; }
}

void read_gguf(const GgufFile& file, SamplingDefaults& d) {
  for (const Recommended& r : kRecommended) {
    json value = stored_value(file, r.gguf_key);
    // llama.cpp takes numbers below 0 for these two as 0.
    if ((r.parameter == "top_k" || r.parameter == "temperature") && value.is_number() && value.get<double>() < 0)
      value = 0;
    take(r, r.gguf_key, value, file.where(), d);
  }
  const std::string_view window = "general.sampling.penalty_last_n";
  if (const json n = stored_value(file, window); n.is_number()) {
    if (n.get<double>() == 0)
      d.params.repeat_penalty = 1;
    else if (n.get<double>() > 0 && d.params.repeat_penalty != 1)
      d.unusable.push_back({"repeat_penalty", fmt::format("{}: {} = {} is not followed; all tokens before count",
                                                          file.where(), window, shown(n))});
  }
  for (const NotFollowed& other : kNotFollowed)
    if (const json value = stored_value(file, other.key); value.is_number() && value.get<double>() != other.off)
      d.unusable.push_back({"", fmt::format("{}: {} = {} is not followed; there is no such way to sample here",
                                            file.where(), other.key, shown(value))});
  if (file.has("general.sampling.sequence"))
    d.unusable.push_back({"", fmt::format("{}: general.sampling.sequence is not followed; the order is penalties, "
                                          "temperature, top_k, top_p, min_p",
                                          file.where())});
}

}  // namespace

std::optional<Config> generation_config(const Checkpoint& checkpoint) {
  if (checkpoint.gguf() || !is_there(generation_file(checkpoint))) return std::nullopt;
  try {
    return Config::read(generation_file(checkpoint));
  } catch (const Error&) { return std::nullopt; }
}

SamplingDefaults read_sampling_defaults(const Checkpoint& checkpoint) {
  SamplingDefaults d;
  if (checkpoint.gguf()) {
    read_gguf(*checkpoint.gguf(), d);
    return d;
  }
  if (!is_there(generation_file(checkpoint))) return d;
  try {
    read_hf(Config::read(generation_file(checkpoint)), d);
  } catch (const Error& error) {
    d.unusable.push_back({"", fmt::format("the recommended parameters cannot be read: {}", error.what())});
  }
  return d;
}

}  // namespace cachalot
