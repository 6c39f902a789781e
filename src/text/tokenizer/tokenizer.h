// Text to token ids and back, exactly as the checkpoint's own tokenizer does it: added tokens are cut out, the rest
// is normalised, cut into pieces, and each piece merged byte pair by byte pair. Holds the vocabulary; immutable after
// construction, so any thread may use it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/provenance.h"
#include "text/pretokenizer/pretokenizer.h"
#include "text/tokenizer/added_tokens.h"
#include "text/tokenizer/bpe.h"
#include "text/tokenizer/string_index.h"
#include "text/vocab.h"

namespace cachalot {

class Tokenizer {
 public:
  // Throws Error on a vocabulary that cannot work: merges of strings that are no tokens, ids out of range or taken
  // twice, an added token without content, a BOS that shall be added but is not named.
  explicit Tokenizer(const Vocabulary& vocabulary);

  // The ids of `text`, without BOS and EOS. Malformed UTF-8 is repaired first: every maximal malformed subsequence
  // becomes one U+FFFD, as in Python's errors="replace".
  //   special  true for text that a template wrote: added tokens in it are recognised. False for text that a user
  //   wrote:
  //            they are plain text there, so nobody can forge the end of a turn. (Added tokens that are ordinary
  //            text, a single character or white space and not marked special, are recognised in both.)
  // A byte that has no token is the unknown token, or is left out when the vocabulary has none.
  // Throws Error when an expression from the file exceeds its step budget.
  std::vector<int> encode(std::string_view text, bool special = true) const;
  // The same with BOS before and EOS after it, where the checkpoint asks for them.
  std::vector<int> encode_with_bos(std::string_view text, bool special = true) const;

  // The ids of a rendered prompt (valid UTF-8): added tokens are recognised where the template wrote all of one, and
  // whatever stands between two of them is encoded as one text, whoever's words it is.
  std::vector<int> encode(const AttributedText& text) const;

  // The text of `ids`: always valid UTF-8, malformed bytes become U+FFFD. Ids without a token (padding rows of the
  // embedding, ids out of range) give nothing. For streaming use StreamDecoder: a character may span several tokens.
  std::string decode(std::span<const int> ids, bool skip_special = false) const;
  // The bytes of one token, which need not be valid UTF-8; empty for ids without a token.
  std::string_view bytes(int id) const;
  // What a person can read of one token: its text, with every byte that is no whole character as <0xE6>.
  std::string piece(int id) const;

  bool is_special(int id) const;
  int size() const {
    return static_cast<int>(ends_.size());
  }  // the highest id with a place in the vocabulary, plus one
  std::optional<int> bos() const { return bos_; }
  std::optional<int> eos() const { return eos_; }
  bool adds_bos() const { return before_.has_value(); }
  std::optional<InfillTokens> stated_infill() const { return infill_; }  // by the file; infill.h knows the others
  // The id of the added token, or else of the whole token, whose text this is.
  std::optional<int> find(std::string_view token_text) const;

 private:
  struct Finders {
    AddedTokenFinder raw, normalized;  // before and after normalisation
  };
  class PieceCache;
  void load_tokens(const Vocabulary& vocabulary);
  void load_bos_eos(const Vocabulary& vocabulary);
  std::vector<Bpe::Merge> merges_by_id() const;
  std::vector<int> encode_valid(std::string_view text, const Provenance& provenance) const;
  void encode_plain(std::string_view text, PieceCache& cache, std::vector<int>& ids) const;

  std::string where_;
  std::string pool_;                   // the bytes of all tokens, one after the other
  std::vector<size_t> ends_;           // by id: where its bytes end in pool_; they begin where the id before ends
  std::vector<bool> special_;          // by id
  StringIndex model_ids_, added_ids_;  // by bytes and by content
  bool nfc_, ignore_merges_;
  std::optional<int> bos_, eos_;
  std::optional<int> before_, after_;  // what is added to every text
  std::optional<InfillTokens> infill_;
  PreTokenizer pretokenizer_;
  Finders added_;
  Bpe bpe_;
};

}  // namespace cachalot
