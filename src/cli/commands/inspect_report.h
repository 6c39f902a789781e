// An Inspection as a person reads it and as a script does.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "cli/commands/inspection.h"

namespace cachalot {

void print_inspection(const Inspection& inspection);
// One line per tensor of the checkpoint. Throws Error when there is none.
void print_tensors(const Inspection& inspection);
nlohmann::ordered_json inspection_json(const Inspection& inspection);

}  // namespace cachalot
