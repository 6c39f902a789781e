// What a tokenizer is made of, as plain data: filled by formats/ from tokenizer.json or from GGUF metadata, checked
// and put to work by Tokenizer. Byte-level BPE only; ids are positions in `tokens`.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace cachalot {

// A token that is cut out of the text by its literal content before anything else happens to it.
struct AddedToken {
  int id = 0;
  std::string content;
  bool special = false;      // left out when decoding with skip_special
  bool single_word = false;  // matches only when no word character touches it
  bool lstrip = false;       // also swallows the white space before it
  bool rstrip = false;       // and after it
  bool normalized = false;   // looked for after normalisation, in its own normalised form
};

// What happens to the matches of a Split step; the text between matches stays as pieces in every case.
enum class SplitBehaviour { removed, isolated, merged_with_previous, merged_with_next, contiguous };

struct SplitStep {
  std::string pattern;
  bool literal = false;  // the pattern is a plain string, not a regular expression
  SplitBehaviour behaviour = SplitBehaviour::isolated;
  bool invert = false;  // what lies between matches counts as the match

  bool operator==(const SplitStep&) const = default;
};
struct DigitsStep {
  bool individual = false;  // every \p{N} is a piece of its own; otherwise runs of them are

  bool operator==(const DigitsStep&) const = default;
};
struct ByteLevelStep {
  bool add_prefix_space = false;  // each segment that does not start with a space gets one
  bool use_regex = false;         // split by GPT-2's expression

  bool operator==(const ByteLevelStep&) const = default;
};
using PreTokenizerStep = std::variant<SplitStep, DigitsStep, ByteLevelStep>;

// The tokens around what a model of code is to fill in.
struct InfillTokens {
  int prefix = 0, suffix = 0, middle = 0;  // each stands before its part

  bool operator==(const InfillTokens&) const = default;
};

struct Vocabulary {
  std::string where;  // names the source in errors
  // Token strings by id, in the 256-letter alphabet of byte-level BPE ("Ġthe"). "" = no such token in the model part.
  std::vector<std::string> tokens;
  std::vector<std::pair<std::string, std::string>> merges;  // best first, same alphabet
  // tiktoken's form: no list of merges; the adjacent pair is joined that makes up the token of the lowest id.
  bool join_by_id = false;
  std::vector<AddedToken> added;
  bool nfc = false;                       // bring text into normal form C first
  std::vector<PreTokenizerStep> steps;    // each splits the pieces that the one before it left
  bool ignore_merges = false;             // a piece that is a token as a whole is emitted at once
  bool add_bos = false, add_eos = false;  // before and after every text
  std::optional<int> bos, eos;
  std::optional<int> added_bos, added_eos;  // where the tokens that are added are others than those two
  std::optional<int> unknown;               // stands for bytes that have no token; none: they are left out
  std::optional<InfillTokens> infill;       // none: known by their texts, where there are any (tokenizer/infill.h)
  // What else the tokenizer has names for, as chat templates know it: "pad_token", "unk_token", … and their texts.
  std::vector<std::pair<std::string, std::string>> named;
};

}  // namespace cachalot
