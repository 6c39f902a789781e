#include "formats/huggingface/tokenizer_json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/quote.h"
#include "formats/json_text.h"

namespace cachalot {
namespace {

using nlohmann::json;
constexpr int kDeepest = 64;

// Builds the document event by event. The two long lists never become nodes of it: as such they would take ten times
// their size.
class Reader : public nlohmann::json_sax<json> {
 public:
  explicit Reader(TokenizerJson& out) : out_(out) {}

  bool null() override { return value(nullptr); }
  bool boolean(bool v) override { return value(v); }
  bool number_integer(number_integer_t v) override { return list_ == List::vocab ? vocab_entry(v) : value(v); }
  bool number_unsigned(number_unsigned_t v) override {
    if (list_ == List::none) return value(v);
    return v <= INT64_MAX ? number_integer(static_cast<int64_t>(v)) : fail("an id is out of range");
  }
  bool number_float(number_float_t v, const string_t&) override { return value(v); }
  bool string(string_t& v) override {
    if (list_ == List::merges) return merge_part(v);
    return value(std::move(v));
  }
  bool binary(binary_t&) override { return fail("binary data"); }

  bool start_object(size_t) override {
    if (list_ != List::none) return unexpected();
    if (depth_ == 2 && at_model_ && key_ == "vocab") {
      list_ = List::vocab;
      out_.has_vocab = true;
      return ++depth_;
    }
    return open(json::object());
  }
  bool key(string_t& v) override {
    if (list_ == List::none && depth_ == 1) at_model_ = v == "model";
    key_ = std::move(v);
    return true;
  }
  bool end_object() override { return close(); }

  bool start_array(size_t) override {
    if (list_ == List::merges && depth_ == 3) {
      ++depth_;
      pair_.clear();
      return true;
    }
    if (list_ != List::none) return unexpected();
    if (depth_ == 2 && at_model_ && key_ == "merges") {
      list_ = List::merges;
      out_.has_merges = true;
      return ++depth_;
    }
    return open(json::array());
  }
  bool end_array() override {
    if (list_ == List::merges && depth_ == 4) {
      --depth_;
      if (pair_.size() != 2)
        return fail(fmt::format("merge {} has {} parts, not 2", out_.merges.size(), pair_.size()));
      out_.merges.emplace_back(std::move(pair_[0]), std::move(pair_[1]));
      return true;
    }
    return close();
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& e) override {
    return fail(fmt::format("not valid JSON at byte {}: {}", position, json_complaint(e)));
  }

  const std::string& error() const { return error_; }

 private:
  enum class List { none, vocab, merges };

  bool fail(std::string message) {
    if (error_.empty()) error_ = std::move(message);
    return false;
  }
  bool unexpected() {
    return fail(list_ == List::vocab
                    ? fmt::format("the id of {} in model.vocab is not an integer", quote(key_))
                    : fmt::format("merge {} is neither \"a b\" nor [\"a\", \"b\"]", out_.merges.size()));
  }
  bool vocab_entry(int64_t id) {
    out_.vocab.emplace_back(std::move(key_), id);
    return true;
  }
  bool merge_part(string_t& v) {
    if (depth_ == 4) {
      if (pair_.size() == 2) return unexpected();
      pair_.push_back(std::move(v));
      return true;
    }
    const size_t space = v.find(' ');
    if (space == std::string::npos || v.find(' ', space + 1) != std::string::npos) return unexpected();
    out_.merges.emplace_back(v.substr(0, space), v.substr(space + 1));
    return true;
  }
  json* place(json v) {
    if (open_.empty()) {
      out_.rest = std::move(v);
      return &out_.rest;
    }
    json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(v));
      return &parent.back();
    }
    return &(parent[key_] = std::move(v));
  }
  bool value(json v) {
    if (list_ != List::none) return unexpected();
    place(std::move(v));
    return true;
  }
  bool open(json container) {
    if (++depth_ > kDeepest) return fail(fmt::format("nested deeper than {} levels", kDeepest));
    open_.push_back(place(std::move(container)));
    return true;
  }
  bool close() {
    --depth_;
    if (list_ != List::none) {
      list_ = List::none;
    } else {
      open_.pop_back();
    }
    return true;
  }

  TokenizerJson& out_;
  List list_ = List::none;
  int depth_ = 0;          // containers open
  bool at_model_ = false;  // the key at depth 1 is "model"
  std::string key_, error_;
  std::vector<std::string> pair_;
  std::vector<json*> open_;
};

}  // namespace

TokenizerJson parse_tokenizer_json(std::string_view text) {
  TokenizerJson out;
  Reader reader(out);
  if (!json::sax_parse(text.begin(), text.end(), static_cast<nlohmann::json_sax<json>*>(&reader))) {
    throw Error(reader.error().empty() ? "not valid JSON" : reader.error());
  }
  return out;
}

}  // namespace cachalot
