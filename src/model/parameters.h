// The parameters that a spec has, known without a checkpoint, so sizes can be told from a config alone. Each block
// lists its own (blocks/).
#pragma once

#include "model/parameter.h"
#include "model/weights.h"

namespace cachalot {

// Calls visit(parameter, where it belongs) for every parameter of `spec`, layer by layer, and makes the layers of
// `weights` as it goes.
void for_each_parameter(const ModelSpec& spec, ModelWeights& weights, const ParameterVisitor::Visit& visit);

// The same as a list. Throws Error when the parameters are more than 2^50, which no sum of bytes survives.
std::vector<Parameter> parameters_of(const ModelSpec& spec);

// How many numbers a model has. The embedding and the output head count, both unless they are one; per token, of the
// routed experts those count that one token uses. The modules of spec.mtp are counted apart.
struct ParameterCounts {
  int64_t total = 0, active = 0;
  int64_t mtp_total = 0, mtp_active = 0;
};
ParameterCounts count_parameters(const ModelSpec& spec);

}  // namespace cachalot
