// The output of a response: items, and the events that tell of them, as the parts of an answer come.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "server/responses/fields.h"
#include "session/reply.h"

namespace cachalot::responses {

class Output {
 public:
  // Hears of each event: its type, and what it has beside that and its number.
  using Tell = std::function<void(std::string_view type, Json event)>;
  // Borrows what is asked. Without `tell` there are items alone.
  Output(const AskedResponse& asked, Tell tell) : asked_(asked), tell_(std::move(tell)) {}

  void add(const ReplyNews& news);
  // The answer has ended, by itself or because it may not be longer.
  void finish(bool by_itself);

  // Those that are whole.
  const Json& items() const { return items_; }

 private:
  // An item of text that goes on.
  struct Open {
    ReplyPart::Kind kind;  // reasoning or content
    std::string id, text;
    Json logprobs = Json::array();
  };
  void tell(std::string_view type, Json event) const;
  void tell_part(std::string_view type, Json event) const;

  void open(ReplyPart::Kind kind);
  void say(const std::string& text, Json logprobs);
  void close(std::string_view status);
  void call(const ReplyPart& part);
  void add_whole(Json empty, std::string_view field, std::string_view events, const std::string& text);

  Json item(std::string_view status, Json content) const;
  Json part(const std::string& text, const Json& logprobs) const;
  Json logprobs(const ReplyNews& news) const;

  const AskedResponse& asked_;
  const Tell tell_;
  Json items_ = Json::array();
  std::optional<Open> open_;
};

}  // namespace cachalot::responses
