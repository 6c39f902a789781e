// The kinds of blocks that layers are made of, in two lists; the order is that of `inspect`.
#pragma once

#include <variant>

#include "model/blocks/gqa.h"
#include "model/blocks/mla.h"
#include "model/blocks/moe.h"

namespace cachalot {

using AttentionSpec = std::variant<GqaSpec, MlaSpec>;    // what mixes tokens
using FeedForwardSpec = std::variant<FfnSpec, MoeSpec>;  // what works on each token by itself

}  // namespace cachalot
