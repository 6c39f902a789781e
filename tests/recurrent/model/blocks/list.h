// The kinds of src/model/blocks/list.h and a recurrent one besides: model, engine and load are compiled with this
// list once more (tests/CMakeLists.txt), as they would be if a model had such layers.
#pragma once

#include <variant>

#include "model/blocks/gqa.h"
#include "model/blocks/mla.h"
#include "model/blocks/moe.h"
#include "model/blocks/recurrence.h"

namespace cachalot {

using AttentionSpec = std::variant<GqaSpec, MlaSpec, RecurrenceSpec>;
using FeedForwardSpec = std::variant<FfnSpec, MoeSpec>;

}  // namespace cachalot
