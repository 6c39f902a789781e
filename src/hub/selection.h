// Which files of a repository make a model, so that nothing else is fetched.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "hub/repository.h"

namespace cachalot {

// Where a repository holds several models: GGUF files of different types.
struct GgufChoice {
  std::string name;               // what stands behind REPO: for it, its type, or its path where that says more
  RemoteFile first;               // the file that is opened
  std::vector<RemoteFile> files;  // all of it, the first among them
  int64_t bytes = 0;
};

struct Selection {
  std::vector<RemoteFile> weights, others;  // others: config, tokenizer, templates, licence …
  std::string model;                        // the file to open, "" for the folder as a whole
  bool indexed = false;                     // an index says which of the weights; see keep_indexed()
  int64_t bytes() const;
};

// Whether it is a model of safetensors that is meant where no type is named.
bool is_of_safetensors(const Repository& repository);
// The GGUF models in a repository, the smallest first.
std::vector<GgufChoice> gguf_choices(const Repository& repository);

// The files of a model of safetensors. Throws Error that says what is there where that is none.
Selection select_safetensors(const Repository& repository);
// Leaves those weights out that the index, which is here, does not name. Throws Error when it names others.
void keep_indexed(Selection& selection, const std::filesystem::path& index, const Repository& repository);
// Those of a GGUF model, and the words beside it (licence, readme).
Selection select_gguf(const Repository& repository, const GgufChoice& choice);

// The one of `choices` that `wanted` means, a type or a file's name. Throws Error that lists them when none or
// several are meant.
const GgufChoice& choice_of(const std::vector<GgufChoice>& choices, const std::string& wanted,
                            const Repository& repository);

}  // namespace cachalot
