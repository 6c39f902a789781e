// What can be asked of a response that is kept.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "base/quote.h"
#include "server/api_error.h"
#include "server/dialect/value.h"
#include "server/responses/responses.h"

namespace cachalot::responses {

using namespace dialect;

namespace {

constexpr std::string_view kInputItems = "/input_items";

ApiError not_kept(std::string_view id) {
  return {404, fmt::format("Response with id {} not found.", quote(id)), "response_not_found", {}};
}

std::shared_ptr<const KeptResponse> kept(ResponseStore& store, const Caller& caller, std::string_view id) {
  auto found = store.find(caller.name, id);
  if (!found) throw not_kept(id);
  return found;
}

// "limit=5&order=asc". Throws for a name that is not known.
std::map<std::string, std::string> parameters(std::string_view query, std::initializer_list<std::string_view> known) {
  std::map<std::string, std::string> all;
  while (!query.empty()) {
    const std::string_view one = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), one.size() + 1));
    const size_t equals = std::min(one.find('='), one.size());
    const std::string_view name = one.substr(0, std::min(equals, one.find_first_of("[%")));  // a list's: include[]
    if (name.empty()) continue;
    if (std::ranges::find(known, name) == known.end()) throw bad_field(name, "there is no such parameter");
    all[std::string(name)] = one.substr(std::min(one.size(), equals + 1));
  }
  return all;
}

void tell_response(http::Exchange& exchange, const KeptResponse& response) {
  // What was asked to be included when it was made is there.
  const auto asked =
      parameters(exchange.request().query, {"include", "stream", "starting_after", "include_obfuscation"});
  if (const auto stream = asked.find("stream"); stream != asked.end() && stream->second != "false")
    throw bad_field("stream", "a response is streamed once, while it is made; only false is taken");
  Json json = Json::parse(response.json);
  for (const KeptItem& item : response.output) json["output"].push_back(Json::parse(item.json));
  exchange.send({.body = dump(json)});
}

// A page of what was said to it, by default the last item first.
void tell_input(http::Exchange& exchange, const KeptResponse& response) {
  auto asked = parameters(exchange.request().query, {"limit", "order", "after", "include"});
  std::vector<KeptItem> items = response.input;
  const std::string order = asked.contains("order") ? asked["order"] : "desc";
  if (order != "asc" && order != "desc") throw bad_field("order", "must be asc or desc");
  if (order == "desc") std::ranges::reverse(items);
  if (asked.contains("after")) {
    const auto after = std::ranges::find(items, asked["after"], &KeptItem::id);
    if (after == items.end()) throw bad_field("after", "there is no such item");
    items.erase(items.begin(), after + 1);
  }
  size_t limit = 20;
  if (asked.contains("limit")) {
    const std::string& text = asked["limit"];
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit);
    if (error != std::errc() || end != text.data() + text.size() || limit < 1 || limit > 100)
      throw bad_field("limit", "must be an integer between 1 and 100");
  }
  const bool more = items.size() > limit;
  items.resize(std::min(items.size(), limit));
  Json data = Json::array();
  for (const KeptItem& item : items) data.push_back(Json::parse(item.json));
  exchange.send({.body = dump({{"object", "list"},
                               {"first_id", items.empty() ? Json(nullptr) : Json(items.front().id)},
                               {"last_id", items.empty() ? Json(nullptr) : Json(items.back().id)},
                               {"has_more", more},
                               {"data", std::move(data)}})});
}

}  // namespace

void get_kept(http::Exchange& exchange, ResponseStore& store, const Caller& caller, std::string_view rest) {
  const bool input = rest.ends_with(kInputItems);
  if (input) rest.remove_suffix(kInputItems.size());
  const auto response = kept(store, caller, rest);
  if (input)
    tell_input(exchange, *response);
  else
    tell_response(exchange, *response);
}

void delete_kept(http::Exchange& exchange, ResponseStore& store, const Caller& caller, std::string_view rest) {
  if (!store.remove(caller.name, rest)) throw not_kept(rest);
  exchange.send({.body = dump({{"id", rest}, {"object", "response"}, {"deleted", true}})});
}

void post_to_kept(http::Exchange&, ResponseStore& store, const Caller& caller, std::string_view rest) {
  constexpr std::string_view kCancel = "/cancel";
  if (!rest.ends_with(kCancel))
    throw ApiError{404, fmt::format("There is no {} of responses here.", quote(rest)), "not_found"};
  rest.remove_suffix(kCancel.size());
  kept(store, caller, rest);
  throw ApiError{
      400,
      "Nothing runs in the background here, so nothing can be cancelled: whoever closes the connection of a "
      "response ends it.",
      "not_cancellable"};
}

}  // namespace cachalot::responses
