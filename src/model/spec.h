// What a model is, as data: one LayerSpec per layer, so attention, windows, rope and feed-forward may differ from
// layer to layer. Made by a family from a checkpoint's Config; const afterwards.
#pragma once

#include <string>
#include <vector>

#include "model/blocks/layer.h"

namespace cachalot {

struct ModelSpec {
  std::string family;
  int width = 0;    // D
  int vocab = 0;    // W, rows of the embedding
  int context = 0;  // tokens that the checkpoint promises
  double norm_eps = 1e-6;
  bool tied_head = false;  // the output head is the embedding
  bool headless = false;   // the checkpoint has none (keep_stored): embeddings only
  bool head_bias = false;
  int learned_positions = 0;  // rows of a table of position embeddings; 0 = none
  std::vector<LayerSpec> layers;
  // Modules that predict the token after the next (DeepSeek-V3's MTP), stored as layers of their own after the last.
  // A run that does not use them clears the list; stored_mtp says how many the checkpoint has all the same.
  std::vector<LayerSpec> mtp;
  int stored_mtp = 0;

  // Whether every token sees none that come after it.
  bool causal() const {
    for (const LayerSpec& layer : layers)
      if (layer.ahead() > 0) return false;
    return true;
  }
};

}  // namespace cachalot
