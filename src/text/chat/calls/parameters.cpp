#include "text/chat/calls/parameters.h"

#include <algorithm>

#include "text/chat/calls/typed_value.h"

namespace cachalot {
namespace {

// Goes behind a name and one of `ends`; `end` is which.
Found take_name(Cursor& cursor, std::span<const std::string_view> ends, std::string& name, size_t& end) {
  constexpr std::string_view kForbidden = "<>{}\"'\r\n";
  const std::string_view rest = cursor.rest().substr(0, kMostNameBytes + 1);
  const size_t bytes = std::min(rest.find_first_of(kForbidden), rest.size());
  if (bytes > kMostNameBytes) return Found::no;
  Found found = bytes == rest.size() ? Found::open : Found::no;
  for (size_t i = 0; i < ends.size(); ++i) {
    Cursor behind = cursor;
    behind.move(bytes);
    const Found one = behind.take(ends[i]);
    if (one == Found::open) found = one;
    if (one != Found::yes) continue;
    name = rest.substr(0, bytes);
    end = i;
    cursor = behind;
    return bytes == 0 ? Found::no : Found::yes;
  }
  return found;
}

// Whether the end cuts off a tag of which enough is there: "</" begins no argument.
bool is_cut(Found tag, const Cursor& at) { return tag == Found::open && at.ended() && at.rest().size() >= 2; }

}  // namespace

Reading ParametersReader::read(std::string_view text, bool ended) {
  while (stage_ != Stage::end) {
    Cursor cursor(text, at_, ended);
    const Found found = stage_ == Stage::head      ? read_head(cursor)
                        : stage_ == Stage::between ? read_between(cursor)
                        : lenient_                 ? read_value_leniently(cursor)
                                                   : read_value(cursor);
    if (found == Found::no) return Reading::malformed;
    at_ = cursor.at();
    if (found == Found::yes) continue;
    if (!ended) return Reading::open;
    if (stage_ != Stage::value || lenient_) return Reading::malformed;
    lenient_ = true;
    at_ = value_begin_;
  }
  return Reading::whole;
}

std::vector<ToolCall> ParametersReader::take_calls() {
  std::string object = "{";
  for (const auto& [name, json] : arguments_)
    object += (object.size() == 1 ? "" : ", ") + json_string(name) + ": " + json;
  return {{.name = std::move(name_), .arguments = object + "}"}};
}

// A head is short: where it is not all there yet, it is read once more.
Found ParametersReader::read_head(Cursor& begin) {
  Cursor cursor = begin;
  Found found = cursor.take_any(tags_.groups);
  const bool alone = found == Found::no;
  if (found == Found::open) return found;
  found = cursor.take_spaced(tags_.call);
  size_t end = 0;
  if (found == Found::yes) found = take_name(cursor, std::span(&tags_.call_named, 1), name_, end);
  if (found != Found::yes) return found;
  if (alone && tags_.offered_alone && !tools_.has(name_)) return Found::no;
  begin = cursor;
  stage_ = Stage::between;
  return Found::yes;
}

// A closing tag may stand there once more than it should.
Found ParametersReader::read_between(Cursor& begin) {
  Cursor cursor = begin;
  if (const Found spaces = cursor.take_spaces(); spaces != Found::yes) return spaces;
  const Found closed = cursor.take(tags_.call_end);
  if (closed == Found::yes || is_cut(closed, cursor)) {
    if (closed == Found::open) cursor.move(cursor.rest().size());
    begin = cursor;
    stage_ = Stage::end;
    return Found::yes;
  }
  const Found doubled = arguments_.empty() ? Found::no : cursor.take(tags_.parameter_end);
  if (doubled == Found::yes) {
    begin = cursor;
    return doubled;
  }
  Found opened = cursor.take(tags_.parameter);
  if (opened == Found::yes) opened = take_name(cursor, tags_.named, argument_, named_);
  if (opened != Found::yes) return closed == Found::open || doubled == Found::open ? Found::open : opened;
  begin = cursor;
  stage_ = Stage::value;
  value_begin_ = cursor.at();
  depth_ = 0;
  return Found::yes;
}

bool ParametersReader::begins_line(std::string_view text, size_t at) const {
  return at > value_begin_ && text[at - 1] == '\n';
}

Found ParametersReader::read_value(Cursor& cursor) {
  while (cursor.find('<')) {
    Cursor behind = cursor;
    const Found opened = begins_line(cursor.text(), cursor.at()) ? behind.take(tags_.parameter) : Found::no;
    const Found closed = opened == Found::yes ? Found::no : behind.take(tags_.parameter_end);
    if (opened == Found::open || closed == Found::open) return Found::open;
    if (opened == Found::yes) ++depth_;
    if (closed == Found::yes && depth_ == 0) {
      const Found ends = value_ends(behind);
      if (ends == Found::open) return ends;
      if (ends == Found::yes) {
        end_value(cursor.text(), cursor.at());
        cursor = behind;
        return ends;
      }
    } else if (closed == Found::yes) {
      --depth_;
    }
    if (opened == Found::no && closed == Found::no) behind.move(1);
    cursor = behind;
  }
  return Found::open;
}

// Where tags are missing, a value also ends where an argument that is declared and not there yet begins, or where the
// call ends.
Found ParametersReader::read_value_leniently(Cursor& cursor) {
  for (; cursor.find('<'); cursor.move(1)) {
    Cursor behind = cursor;
    if (behind.take(tags_.parameter_end) == Found::yes && value_ends(behind) == Found::yes) {
      end_value(cursor.text(), cursor.at());
      cursor = behind;
      return Found::yes;
    }
    Cursor next = cursor;
    std::string name;
    size_t named = 0;
    const auto is_new = [&] {
      return name != argument_ && tools_.argument(name_, name) &&
             std::none_of(arguments_.begin(), arguments_.end(), [&](const auto& a) { return a.first == name; });
    };
    const bool another = begins_line(cursor.text(), cursor.at()) && next.take(tags_.parameter) == Found::yes &&
                         take_name(next, tags_.named, name, named) == Found::yes && is_new();
    if (!another && !call_ends(cursor)) continue;
    end_value(cursor.text(), cursor.at());
    return Found::yes;
  }
  return Found::no;
}

// Whether what stands behind a closing tag goes on as a call does: it ends, or names the next argument, one that is
// declared, as far as any is. A second closing tag, on a line of its own, is one too many.
Found ParametersReader::value_ends(const Cursor& behind_tag, int tags) const {
  constexpr int kMostTags = 2;
  Cursor cursor = behind_tag;
  const Found spaces = cursor.take_spaces();
  if (spaces != Found::yes) return spaces;
  const Found ends = cursor.take(tags_.call_end);
  if (ends == Found::yes || is_cut(ends, cursor)) return Found::yes;
  std::string name;
  size_t named = 0;
  Cursor next = cursor;
  Found goes_on = next.take(tags_.parameter);
  if (goes_on == Found::yes) goes_on = take_name(next, tags_.named, name, named);
  if (goes_on == Found::yes) return lenient_ || is_known(name) ? Found::yes : Found::no;
  const bool second = tags > 0 || begins_line(cursor.text(), behind_tag.at() - tags_.parameter_end.size());
  const Found doubled = second && tags < kMostTags ? cursor.take(tags_.parameter_end) : Found::no;
  if (doubled == Found::yes) return value_ends(cursor, tags + 1);
  const bool open = ends == Found::open || goes_on == Found::open || doubled == Found::open;
  return open && !cursor.ended() ? Found::open : Found::no;
}

bool ParametersReader::is_known(std::string_view argument) const {
  const auto* declared = tools_.arguments(name_);
  return !declared || declared->empty() || declared->contains(argument);
}

bool ParametersReader::call_ends(Cursor at) const {
  if (at.take(tags_.call_end) != Found::yes) return false;
  at.take_spaces();
  return at.at_end() || at.take_any(tags_.group_ends) == Found::yes;
}

void ParametersReader::end_value(std::string_view text, size_t end) {
  std::string json = tags_.value(tools_, name_, argument_, text.substr(value_begin_, end - value_begin_), named_);
  const auto same =
      std::find_if(arguments_.begin(), arguments_.end(), [&](const auto& a) { return a.first == argument_; });
  if (same != arguments_.end())
    same->second = std::move(json);
  else
    arguments_.emplace_back(argument_, std::move(json));
  stage_ = Stage::between;
}

}  // namespace cachalot
