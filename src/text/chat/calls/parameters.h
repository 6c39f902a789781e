// Calls whose arguments stand between tags, each by itself, with nothing escaped: a value may hold what looks like
// tags. It ends at the closing tag behind which the next argument, or the end of the call, follows; a value that
// holds such a call whole has as many opening tags, at the beginnings of lines, as closing ones.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/chat/calls/call_reader.h"
#include "text/chat/calls/cursor.h"

namespace cachalot {

struct ParameterTags {
  std::vector<std::string_view> groups, group_ends;  // around one or more calls; may be left out
  bool offered_alone = false;                        // outside of them only what is offered is a call
  std::string_view call, call_named;                 // before and behind the tool's name
  std::string_view call_end;
  std::string_view parameter;           // before an argument's name
  std::vector<std::string_view> named;  // what may stand behind it
  std::string_view parameter_end;
  // JSON for a value. `named`: which of those stood behind the name.
  std::string (*value)(const Tools& tools, std::string_view tool, std::string_view argument, std::string_view value,
                       size_t named);
};

class ParametersReader : public CallReader {
 public:
  // Borrows both.
  ParametersReader(const ParameterTags& tags, const Tools& tools) : tags_(tags), tools_(tools) {}

  Reading read(std::string_view text, bool ended) override;
  size_t read_bytes() const override { return at_; }
  std::vector<ToolCall> take_calls() override;

 private:
  enum class Stage { head, between, value, end };
  Found read_head(Cursor& cursor);
  Found read_between(Cursor& cursor);
  Found read_value(Cursor& cursor);
  Found read_value_leniently(Cursor& cursor);
  Found value_ends(const Cursor& behind_tag, int tags = 0) const;
  bool is_known(std::string_view argument) const;
  bool call_ends(Cursor at) const;
  bool begins_line(std::string_view text, size_t at) const;
  void end_value(std::string_view text, size_t end);

  const ParameterTags& tags_;
  const Tools& tools_;
  Stage stage_ = Stage::head;
  size_t at_ = 0;  // up to here it is read
  std::string name_;
  std::vector<std::pair<std::string, std::string>> arguments_;  // names and JSON

  // Of the value that is being read:
  std::string argument_;
  size_t named_ = 0, value_begin_ = 0;
  int depth_ = 0;         // opening tags in it that are not closed yet
  bool lenient_ = false;  // tags are missing
};

}  // namespace cachalot
