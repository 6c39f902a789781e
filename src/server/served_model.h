// What dialects know of the model that they serve: its name and its text side. They see no tensor.
#pragma once

#include <algorithm>
#include <ctime>
#include <string>
#include <vector>

#include "base/quote.h"
#include "load/loaded_model.h"
#include "session/prompt.h"

namespace cachalot {

// Immutable, so connections share it. Borrows the text side.
struct ServedModel {
  std::string id;                             // what answers say
  std::vector<std::string> other_names = {};  // by which it is asked for, too
  std::time_t created;
  const TextModel& text;
  const GenerationDefaults& defaults;
  PromptWriter prompts;
  int context;                              // most tokens of prompt and answer
  int vocab;                                // the model's, at least the tokenizer's
  int width = 0;                            // of its embeddings
  EmbeddingForm embedding = {};             // how they are made
  std::string fingerprint = "fp_cachalot";  // changes when what decides an answer's bits does

  // All of them, for who has asked for another.
  std::string names() const {
    std::string all = quote(id);
    for (const std::string& name : other_names) all += ", " + quote(name);
    return all;
  }
  bool is_called(std::string_view name) const {
    return name == id || std::ranges::find(other_names, name) != other_names.end();
  }
};

}  // namespace cachalot
