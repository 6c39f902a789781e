// Multi-head latent attention of CpuOps, in both its forms. The cache holds one key [c ; kr] per token; see
// Ops::attend_latent for what is computed and for_each_form (batch.h) for which rows take which form.
#pragma once

#include "ops/cpu/attention.h"

namespace cachalot {

struct LatentCall {
  const CpuKvCache& cache;
  int layer;
  AttendSpec spec;
  Tensor qn_THN, qr_THR;
  const LatentWeights& weights;
  Tensor o_THV;

  int heads() const { return static_cast<int>(qn_THN.dim(1)); }
  int nope_dim() const { return static_cast<int>(qn_THN.last()); }
  int rope_dim() const { return static_cast<int>(qr_THR.last()); }
  int value_dim() const { return static_cast<int>(o_THV.last()); }
  int latent_dim() const { return cache.layer(layer).latent_dim; }
};

// Absorbed rows are computed so many at a time: in the latent space a row has heads times (2 C + R) numbers.
constexpr int kAbsorbedRows = 128;

// Ops::attend over latents: every query [k_up qn ; qr] against the keys [c ; kr], with c as values.
void attend_latents(const AttendMachine& machine, const AttendCall& call, std::span<const AttendSpan> spans);
// Ops::linear_per_head.
void project_heads(const AttendMachine& machine, const Weight& w_HOI, const Tensor& x_THI, const Tensor& y_THO);

// Ops::attend_latent of spans that take one form.
void attend_absorbed(const AttendMachine& machine, const LatentCall& call, std::span<const AttendSpan> spans);
void attend_expanded(const AttendMachine& machine, const LatentCall& call, std::span<const AttendSpan> spans);

}  // namespace cachalot
