// What an answer took, in words for people.
#pragma once

#include <string>

#include "session/answer.h"

namespace cachalot {

// "12 prompt tokens (8 known) at 345 tokens/s, 57 tokens at 123 tokens/s", and why it ended if not by itself.
std::string statistics(const Answer& answer, const EngineOptions& engine);

}  // namespace cachalot
