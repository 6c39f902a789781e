#include "text/chat/reply_parser.h"

#include <algorithm>
#include <span>
#include <utility>

#include "text/chat/calls/call_reader.h"
#include "text/chat/calls/cursor.h"

namespace cachalot {

using Kind = ReplyPart::Kind;

std::string text_of(const ReplyParts& parts, Kind kind) {
  std::string text;
  for (const ReplyPart& part : parts)
    if (part.kind == kind) text += part.text;
  return text;
}

void append(ReplyParts& parts, ReplyParts&& more) {
  for (ReplyPart& part : more) {
    if (part.kind != Kind::call && !parts.empty() && parts.back().kind == part.kind)
      parts.back().text += part.text;
    else
      parts.push_back(std::move(part));
  }
}

std::vector<std::string_view> ReplySyntax::tags() const {
  std::vector<std::string_view> tags = {format.reasoning_open, format.reasoning_close};
  if (!tools || format.calls == CallForm::none) return tags;
  const CallSyntax& calls = call_syntax(format.calls);
  for (const auto* some : {&calls.begins, &calls.closes, &calls.inner})
    tags.insert(tags.end(), some->begin(), some->end());
  return tags;
}

bool prompt_opens_reasoning(std::string_view rendered_prompt, const ReplyFormat& format) {
  const size_t last = rendered_prompt.find_last_not_of(kSpaces);
  return last != std::string_view::npos && rendered_prompt.substr(0, last + 1).ends_with(format.reasoning_open);
}

namespace {

// Whether one of `tags` begins the text: its length; or none, or one may once the text goes on.
struct TagSearch {
  Found found = Found::no;
  size_t bytes = 0;
};

TagSearch search(std::string_view text, std::span<const std::string_view> tags) {
  TagSearch best;
  for (const std::string_view tag : tags) {
    if (text.starts_with(tag)) return {Found::yes, tag.size()};
    if (tag.starts_with(text)) best.found = Found::open;
  }
  return best;
}

// The length of the longest end of the text that begins the tag without being all of it.
size_t begun(std::string_view text, std::string_view tag) {
  for (size_t size = std::min(text.size(), tag.size() - 1); size > 0; --size)
    if (text.ends_with(tag.substr(0, size))) return size;
  return 0;
}

}  // namespace

// The text is held from where nothing is told yet. Each step decides about some of it, and says whether the next may
// go on at once.
class ReplyParser::State {
 public:
  explicit State(ReplySyntax syntax) : syntax_(std::move(syntax)) {
    if (syntax_.starts_inside) mode_ = Mode::opened;
    if (syntax_.tools && !syntax_.tools->empty() && syntax_.format.calls != CallForm::none)
      calls_ = &call_syntax(syntax_.format.calls);
  }

  ReplyParts push(std::string_view piece) {
    pushed_ += piece.size();
    held_ += piece;
    return advance();
  }
  ReplyParts finish() {
    at_end_ = true;
    return advance();
  }

  size_t held_bytes() const { return held_.size() - told_; }
  bool in_reasoning() const { return (mode_ == Mode::opened || mode_ == Mode::reasoning) && !reader_; }
  bool in_content() const { return mode_ == Mode::content; }
  std::optional<size_t> content_begin() const { return content_begin_; }
  bool ended() const { return mode_ == Mode::ended; }

 private:
  enum class Mode { unknown, opened, reasoning, closed, content, ended };

  ReplyParts advance();
  bool step();
  bool step_unknown();
  bool step_opened();
  bool step_text();
  bool step_call();
  bool step_behind_call();
  bool drop_newlines(Mode next);
  void begin_content();
  void end_reasoning();
  void drop_tag(size_t bytes);
  void begin_call();
  struct CallText {
    std::string_view text;
    bool ended;
  };
  CallText call_text();
  void look_on(size_t to);
  void tell_text(size_t end);
  bool tell_calls();
  bool may_be_bare() const;

  std::string_view text() const { return std::string_view(held_).substr(at_); }
  Kind kind() const { return mode_ == Mode::content ? Kind::content : Kind::reasoning; }
  void drop(size_t end) { told_ = at_ = solid_ = end; }

  ReplySyntax syntax_;
  const CallSyntax* calls_ = nullptr;  // none: no calls are looked for
  Mode mode_ = Mode::unknown;
  bool at_end_ = false;
  size_t pushed_ = 0;  // bytes
  std::optional<size_t> content_begin_;

  std::string held_;
  size_t told_ = 0;                     // of held_, in bytes: told or dropped
  size_t at_ = 0;                       // looked at
  size_t solid_ = 0;                    // of what was looked at, but for white space at its end
  std::unique_ptr<CallReader> reader_;  // of a call that begins at at_
  size_t searched_ = 0;                 // from at_, for the tag that ends reasoning
  size_t in_vain_ = 0;                  // bytes read of what turned out to be no calls
  bool behind_call_ = false;
  bool text_told_ = false;  // of content, since it began or since the last call
  ReplyParts out_;
};

ReplyParts ReplyParser::State::advance() {
  while (step()) {}
  if (told_ > held_.size() / 2) {
    held_.erase(0, told_);
    at_ -= told_;
    solid_ -= std::min(solid_, told_);
    told_ = 0;
  }
  return std::exchange(out_, {});
}

bool ReplyParser::State::step() {
  switch (mode_) {
    case Mode::unknown: return step_unknown();
    case Mode::opened: return step_opened();
    case Mode::closed: return drop_newlines(Mode::content);
    case Mode::reasoning:
    case Mode::content: return reader_ ? step_call() : behind_call_ ? step_behind_call() : step_text();
    case Mode::ended: return false;
  }
  return false;
}

bool ReplyParser::State::step_unknown() {
  at_ = std::min(held_.find_first_not_of(kSpaces, at_), held_.size());
  const std::string_view tag = syntax_.format.reasoning_open;
  if (text().starts_with(tag)) {
    drop(at_ + tag.size());
    mode_ = Mode::opened;
    return true;
  }
  if (tag.starts_with(text()) && !at_end_) return false;
  begin_content();
  return true;
}

// A reply may open what is open already: models do that when the prompt ends with the tag.
bool ReplyParser::State::step_opened() {
  at_ = std::min(held_.find_first_not_of(kSpaces, at_), held_.size());
  const std::string_view tag = syntax_.format.reasoning_open;
  if (text().starts_with(tag)) {
    drop(at_ + tag.size());
    return true;
  }
  if (tag.starts_with(text()) && !at_end_) return false;
  at_ = told_;
  return drop_newlines(Mode::reasoning);
}

bool ReplyParser::State::drop_newlines(Mode next) {
  drop(std::min(held_.find_first_not_of('\n', at_), held_.size()));
  if (text().empty() && !at_end_) return false;
  mode_ = next;
  if (next == Mode::content) begin_content();
  return true;
}

void ReplyParser::State::begin_content() {
  mode_ = Mode::content;
  text_told_ = false;
  at_ = solid_ = told_;
  content_begin_ = pushed_ - held_bytes();
}

void ReplyParser::State::end_reasoning() {
  size_t end = at_;
  while (end > told_ && held_[end - 1] == '\n') --end;
  tell_text(end);
  drop(at_ + syntax_.format.reasoning_close.size());
  mode_ = Mode::closed;
}

// Up to `to` there is certainly no tag. White space at its end is held back where it may be dropped.
void ReplyParser::State::look_on(size_t to) {
  const std::string_view spaces = calls_ ? kSpaces : mode_ == Mode::reasoning ? "\n" : "";
  const size_t last = std::string_view(held_).substr(at_, to - at_).find_last_not_of(spaces);
  if (last != std::string_view::npos) solid_ = at_ + last + 1;
  at_ = to;
}

void ReplyParser::State::tell_text(size_t end) {
  if (end <= told_) return;
  append(out_, {{.kind = kind(), .text = held_.substr(told_, end - told_), .name = {}}});
  told_ = end;
  text_told_ = true;
}

bool ReplyParser::State::may_be_bare() const {
  return calls_ && !calls_->bare.empty() && mode_ == Mode::content && !text_told_ && solid_ <= told_;
}

bool ReplyParser::State::step_text() {
  if (may_be_bare()) {
    look_on(std::min(held_.find_first_not_of(kSpaces, at_), held_.size()));
    const TagSearch bare = search(text(), calls_->bare);
    if (bare.found == Found::yes) begin_call();
    if (bare.found == Found::yes || (bare.found == Found::open && !at_end_)) return bare.found == Found::yes;
  }
  while (true) {
    look_on(std::min(held_.find('<', at_), held_.size()));
    if (text().empty()) break;
    const TagSearch close = mode_ == Mode::reasoning || syntax_.limited
                                ? search(text(), {&syntax_.format.reasoning_close, 1})
                                : TagSearch();
    if (close.found == Found::yes) {
      if (mode_ == Mode::reasoning)
        end_reasoning();
      else
        drop_tag(close.bytes);
      return true;
    }
    const TagSearch call = calls_ ? search(text(), calls_->begins) : TagSearch();
    if (call.found == Found::yes) {
      begin_call();
      return true;
    }
    if ((close.found == Found::open || call.found == Found::open) && !at_end_) break;
    look_on(at_ + 1);
  }
  tell_text(at_end_ ? held_.size() : solid_);
  return false;
}

// One that means nothing; what stands around it is told.
void ReplyParser::State::drop_tag(size_t bytes) {
  tell_text(at_);
  drop(at_ + bytes);
}

void ReplyParser::State::begin_call() {
  reader_ = calls_->reader(*syntax_.tools);
  searched_ = 0;
}

// What of the text may be the call: where values are not quoted, the tag that ends reasoning ends it, too. So what
// may become that tag is not shown to the reader.
ReplyParser::State::CallText ReplyParser::State::call_text() {
  const std::string_view close = syntax_.format.reasoning_close;
  CallText call{.text = text(), .ended = at_end_};
  if (mode_ != Mode::reasoning || calls_->quoted) return call;
  const size_t end = call.text.find(close, searched_);
  searched_ = call.text.size() - std::min(call.text.size(), close.size() - 1);
  if (end != call.text.npos) return {.text = call.text.substr(0, end), .ended = true};
  if (!at_end_) call.text.remove_suffix(begun(call.text, close));
  return call;
}

bool ReplyParser::State::step_call() {
  tell_text(solid_);
  const auto [call, ended] = call_text();
  const Reading reading = reader_->read(call, ended);
  if (reading == Reading::open) return false;
  if (reading == Reading::whole && tell_calls()) return true;
  // Others may begin within it. A text that is all beginnings is read so often and no more.
  constexpr size_t kTimes = 4, kSurely = size_t{1} << 16;
  in_vain_ += reader_->read_bytes();
  if (in_vain_ > kSurely + kTimes * (pushed_ - held_.size() + at_ + reader_->read_bytes())) calls_ = nullptr;
  reader_.reset();
  look_on(at_ + 1);
  return true;
}

bool ReplyParser::State::tell_calls() {
  std::vector<ToolCall> calls = reader_->take_calls();
  const auto offered = [&](const ToolCall& call) { return syntax_.tools->has(call.name); };
  if (mode_ == Mode::reasoning && !std::all_of(calls.begin(), calls.end(), offered)) return false;
  if (syntax_.one_call) calls.resize(1);
  for (ToolCall& call : calls)
    out_.push_back({.kind = Kind::call, .text = std::move(call.arguments), .name = std::move(call.name)});
  drop(at_ + reader_->read_bytes());
  reader_.reset();
  behind_call_ = true;
  text_told_ = false;
  if (syntax_.one_call) mode_ = Mode::ended;
  return true;
}

bool ReplyParser::State::step_behind_call() {
  drop(std::min(held_.find_first_not_of(kSpaces, at_), held_.size()));
  const TagSearch close = search(text(), calls_->closes);
  if (close.found == Found::open && !at_end_) return false;
  if (close.found != Found::no) drop(close.found == Found::yes ? at_ + close.bytes : held_.size());
  behind_call_ = close.found == Found::yes;
  return true;
}

ReplyParser::ReplyParser(ReplySyntax syntax) : state_(std::make_unique<State>(std::move(syntax))) {}
ReplyParser::~ReplyParser() = default;
ReplyParser::ReplyParser(ReplyParser&&) noexcept = default;
ReplyParser& ReplyParser::operator=(ReplyParser&&) noexcept = default;

ReplyParts ReplyParser::push(std::string_view piece) { return state_->push(piece); }
ReplyParts ReplyParser::finish() { return state_->finish(); }
size_t ReplyParser::held_bytes() const { return state_->held_bytes(); }
bool ReplyParser::in_reasoning() const { return state_->in_reasoning(); }
bool ReplyParser::in_content() const { return state_->in_content(); }
std::optional<size_t> ReplyParser::content_begin() const { return state_->content_begin(); }
bool ReplyParser::ended() const { return state_->ended(); }

}  // namespace cachalot
