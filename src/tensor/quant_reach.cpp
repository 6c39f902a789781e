#include "tensor/quant_reach.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/quote.h"
#include "tensor/quant_blocks.h"
#include "tensor/quant_encode.h"

namespace cachalot {

Reach reach_of(DType type) {
  switch (type) {
    case DType::q8_0: return {{-127, 127}, -1, 1};
    case DType::q4_0: return {{-8, 7}, -1, 1};
    case DType::q5_0: return {{-16, 15}, -1, 1};
    case DType::iq4_nl: return {{-127, 113}, -1, 1};
    case DType::q4_1: return {{0, 15}, 0, 1, -1, 1};
    case DType::q5_1: return {{0, 31}, 0, 1, -1, 1};
    case DType::q2_k: return {{0, 3}, 0, 15, -15, 0};
    case DType::q3_k: return {{-4, 3}, -32, 31};
    case DType::q4_k: return {{0, 15}, 0, 63, -63, 0};
    case DType::q5_k: return {{0, 31}, 0, 63, -63, 0};
    case DType::q6_k: return {{-32, 31}, -128, 127};
    default: CHECK(false, "{} has no blocks to write", name(type));
  }
}

namespace {

// The extreme that no scale and offset reach; nothing when there are such.
std::optional<float> beyond_offsets(const Extremes& e, const Reach& r) {
  if (e.low < r.lowest()) return e.low;
  const double lowest = std::min(e.low, r.offset_high * kLargestHalf);
  if (e.high - lowest > r.span()) return e.high;
  return std::nullopt;
}

// Whether a scale from -down to up puts both extremes on codes.
bool spans(const Extremes& e, quant_fit::Codes codes, float up, float down) {
  const auto within = [&](float low, float high) {
    return low * kLargestHalf <= e.low && e.high <= high * kLargestHalf;
  };
  return within(codes.low * up, codes.high * up) || within(-codes.high * down, -codes.low * down);
}

}  // namespace

std::optional<float> beyond(std::span<const Extremes> parts, const Reach& r) {
  std::optional<float> worst;
  const auto offer_worst = [&](float v) { worst = worst && std::fabs(*worst) >= std::fabs(v) ? *worst : v; };
  if (r.offsets()) {
    for (const Extremes& e : parts)
      if (const auto v = beyond_offsets(e, r)) offer_worst(*v);
    return worst;
  }
  for (const bool negative : {false, true}) {  // d, which all parts share
    const float up = negative ? -r.scale_low : r.scale_high, down = negative ? r.scale_high : -r.scale_low;
    const auto fails = [&](const Extremes& e) { return !spans(e, r.codes, up, down); };
    if (std::none_of(parts.begin(), parts.end(), fails)) return std::nullopt;
    for (const Extremes& e : parts)
      if (fails(e)) offer_worst(e.outer());
  }
  return worst;
}

Error not_held(std::string_view tensor, int64_t row, float value, DType type, std::string_view option) {
  const std::string where = fmt::format("row {} of tensor {} holds {}", row, quote(tensor), value);
  if (!std::isfinite(value))
    return Error(where).because("a weight is a finite number").hint("the checkpoint is broken; download it again");
  const bool bf16_holds = std::isfinite(bf16_to_f32(f32_to_bf16(value)));
  std::string reason = fmt::format("its largest number is {}", type == DType::f16 ? "65504" : "3.39e38");
  if (info(type).block_elements > 1) {
    const Reach reach = reach_of(type);
    reason = fmt::format("its scales end at {}: a block reaches from {} to {}, and no further than {} at once",
                         kLargestHalf, reach.lowest(), reach.largest(), reach.span());
  }
  return Error(fmt::format("{}, which {} cannot", where, name(type)))
      .because(reason)
      .hint(fmt::format("{} {} holds it", option, bf16_holds ? "bf16" : "f32"));
}

}  // namespace cachalot
