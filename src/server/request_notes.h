// Whose a request is, and what the log tells of it: never what was said in it.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace cachalot {

struct Caller {
  std::string name;  // callers share the machine equally; "" without API keys
  std::string salt;  // what was computed for one serves requests with the same salt alone
};

// Filled while a request is answered, as far as it comes.
struct RequestNotes {
  std::string model;
  int prompts = 0, answers = 0;
  int prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
  std::string prefix;  // of the first prompt: how much of it was cached, and why not more
  std::optional<std::chrono::milliseconds> first_token;  // until that, of all answers
  // Of the answer that ended last: "stop", "length", "cancelled", "error"; "gone": the client left.
  std::string finish;
  std::string error;  // why an answer failed that had begun
};

}  // namespace cachalot
