#include "formats/gguf/ends.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <string>

#include "base/log.h"
#include "base/quote.h"
#include "formats/gguf/tokenizer.h"

namespace cachalot {
namespace {

// llama.cpp's list without what belongs to architectures that do not run here.
constexpr std::string_view kTurnEnds[] = {
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>",      "<｜end▁of▁sentence｜>",
    "<EOT>",      "_<EOT>",     "[EOT]",      "</s>",    "<end_of_utterance>",
};
// Ends of a text, then what stands between files and fills up in code models.
constexpr std::string_view kOtherEnds[] = {
    "<|endoftext|>", "<|end_of_text|>", "<eos>",  "[EOS]",      "<|fim_pad|>",
    "<fim-pad>",     "<fim_pad>",       "<PAD>",  "[PAD]",      "<|fim_repo|>",
    "<|repo_name|>", "<fim-repo>",      "<REPO>", "<reponame>", "<|file_sep|>",
};

template <size_t count>
bool contains(const std::string_view (&texts)[count], std::string_view text) {
  return std::find(std::begin(texts), std::end(texts), text) != std::end(texts);
}

}  // namespace

bool is_end_text(std::string_view text) { return contains(kTurnEnds, text) || contains(kOtherEnds, text); }

std::vector<int> gguf_end_tokens(const GgufFile& file, const Tokenizer& tokenizer) {
  std::vector<int> ends;
  std::vector<std::string> turns;  // known by their text alone
  bool names_turn = false;
  const auto add = [&](int id) {
    const bool is_new = std::find(ends.begin(), ends.end(), id) == ends.end();
    if (is_new) ends.push_back(id);
    return is_new;
  };
  for (const std::string_view name :
       {"eos_token_id", "eot_token_id", "eom_token_id", "fim_pad_token_id", "fim_rep_token_id", "fim_sep_token_id"}) {
    const auto id = gguf_token_id(file, name);
    if (!id) continue;
    add(*id);
    names_turn |= contains(kTurnEnds, tokenizer.bytes(*id));
  }
  const auto add_by_text = [&](std::string_view text) {
    const auto id = tokenizer.find(text);
    return id && tokenizer.is_special(*id) && add(*id);
  };
  for (const std::string_view text : kTurnEnds)
    if (add_by_text(text)) turns.push_back(quote(text));
  for (const std::string_view text : kOtherEnds) add_by_text(text);
  if (ends.empty()) {
    warn("{}: no token is known to end an answer; answers go on to --max-tokens or the end of the context",
         file.where());
  } else if (!names_turn && !turns.empty()) {
    note("{}: the file does not name the end of a turn; known by its text: {}", file.where(), fmt::join(turns, ", "));
  }
  return ends;
}

}  // namespace cachalot
