// The part of Tokenizer that keeps text of users plain inside text that a template wrote.
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace cachalot {

static std::string without(std::string_view text, std::string_view mark) {
  std::string out;
  for (size_t at; (at = text.find(mark)) != text.npos; text.remove_prefix(at + mark.size()))
    out += text.substr(0, at);
  return out.append(text);
}

std::string Tokenizer::marked_plain(std::string_view text, std::string_view mark) const {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const auto bytes = static_cast<size_t>(code_point_at(text, at).bytes);
    out += text.substr(at, bytes);
    if (begins_template_token_[static_cast<uint8_t>(text[at])]) out += mark;
    at += bytes;
  }
  return out;
}

// The parts of `text` by all added tokens, those that are looked for after normalisation included.
std::vector<AddedTokenFinder::Part> Tokenizer::added_parts(std::string_view text) const {
  std::vector<AddedTokenFinder::Part> raw, parts, inner;
  all_.raw.split(text, raw);
  for (const auto& part : raw) {
    if (part.id) {
      parts.push_back(part);
      continue;
    }
    inner.clear();
    all_.normalized.split(text.substr(part.begin, part.end - part.begin), inner);
    for (auto& p : inner) parts.push_back({p.begin + part.begin, p.end + part.begin, p.id});
  }
  return parts;
}

std::vector<int> Tokenizer::encode_marked(std::string_view text, std::string_view mark) const {
  std::vector<int> ids;
  std::string run;  // text since the last added token that a template wrote
  const auto end_run = [&] {
    const bool marked = run.find(mark) != run.npos;
    const auto part = encode(marked ? without(run, mark) : run, /*special=*/!marked);
    ids.insert(ids.end(), part.begin(), part.end());
    run.clear();
  };
  for (const auto& part : added_parts(text)) {
    // A token of one character is followed by its mark where a user wrote it.
    if (part.id && !text.substr(part.end).starts_with(mark)) {
      end_run();
      ids.push_back(*part.id);
    } else {
      run += text.substr(part.begin, part.end - part.begin);
    }
  }
  end_run();
  return ids;
}

}  // namespace cachalot
