// Rotary position embedding: which frequencies a model uses and how they are computed, step by step as the reference
// does (transformers, modeling_rope_utils): the order of f32 roundings decides agreement at long positions.
#pragma once

#include <optional>
#include <vector>

namespace cachalot {

// Which components of a head form the pairs that are rotated. A fact of the family, stated in its file.
enum class RopePairing { halves /* (i, i + R/2) */, pairs /* (2i, 2i + 1) */ };

enum class RopeScaling {
  none,
  linear,
  dynamic,   // transformers' form: the base grows with the declared length
  qwen_ntk,  // Qwen1's form: the base grows in steps of doubled lengths
  log_ntk,   // the report's form: frequencies times 1 + gamma ln N
  yarn,
  longrope,  // divisors, others for sequences longer than those of the training
  llama3,
  divisors
};

struct RopeSpec {
  int dim = 0;  // R, rotated components of a head; 0 = no rotary embedding
  double base = 10000;
  RopePairing pairing = RopePairing::halves;

  RopeScaling scaling = RopeScaling::none;
  double factor = 1;
  // yarn, llama3, longrope: original_max_position_embeddings; dynamic: max_position_embeddings; qwen_ntk: seq_length
  int trained_tokens = 0;
  double beta_fast = 32, beta_slow = 1;              // yarn: rotations that bound the ramp
  bool truncate = true;                              // yarn: the ramp's ends are whole indices
  double attention_factor = 1;                       // cos and sin are multiplied by it
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  double gamma = 0;                                  // log_ntk
  std::vector<double> divisors;                      // GGUF's stored form of llama3, longrope: R/2 numbers
  std::vector<double> long_divisors;                 // longrope: past trained_tokens

  bool operator==(const RopeSpec&) const = default;
  bool depends_on_length() const {
    return scaling == RopeScaling::dynamic || scaling == RopeScaling::qwen_ntk || scaling == RopeScaling::log_ntk ||
           scaling == RopeScaling::longrope;
  }
};

// R/2 inverse frequencies, bit for bit those of the reference up to its pow() (one unit in the last place).
//   sequence_tokens  the declared length of the sequence; matters only when depends_on_length()
std::vector<float> inverse_frequencies(const RopeSpec& spec, int sequence_tokens);

// YaRN's default attention factor: m(factor, mscale) / m(factor, mscale_all_dim), with m(s, k) = 0.1 k ln s + 1 for
// s > 1. Absent keys as in the reference: both must be given to take part.
double yarn_attention_factor(double factor, std::optional<double> mscale, std::optional<double> mscale_all_dim);
// m(factor, k) above.
double yarn_mscale(double factor, double k);

// LogN attention: queries are multiplied by a factor of their position p (0-based), after RoPE.
struct LogNSpec {
  enum class Form {
    none,
    released,  // Qwen1: ln(p + 1) / ln(trained_tokens) where p + 1 > trained_tokens, else 1
    log        // the report: ln(p + 1)
  };
  Form form = Form::none;
  int trained_tokens = 0;

  bool operator==(const LogNSpec&) const = default;
};
// The factor in f32. Qwen1's released code ends its table at 32,767 tokens; here the same formula goes on.
float logn_factor(const LogNSpec& spec, int position);

}  // namespace cachalot
