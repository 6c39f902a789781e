// The tools that a request offers, as the model knows them, and what becomes of a call when it is told.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "server/dialect/value.h"

namespace cachalot::responses {

using namespace dialect;

struct OfferedTool {
  std::string name, space;  // space: of the namespace that holds it; "" where none does
  bool custom = false;      // its input is a text, which the model writes as the argument `input`
};

// Functions, those within namespaces, and custom tools. Tools that would run elsewhere (a web search and the like)
// are passed over: clients send them unasked, and nobody here could run them.
class OfferedTools {
 public:
  // Throws an ApiError.
  void read(const Value& tools);

  // In the shape of Tools (text/chat/tools.h). A function of a namespace has its own name, unless another tool has
  // it, too: then NAMESPACE.NAME. What is said of a namespace stands before what is said of its first tool.
  const Json& for_template() const { return for_template_; }
  // As the request has them, without those passed over.
  const Json& told() const { return told_; }
  // The one that the model knows by that name; nullptr when it has made the name up.
  const OfferedTool* known_as(std::string_view name) const;
  // What the model knows a tool by; that of no tool here is its own.
  std::string name_for_model(const std::string& space, const std::string& name) const;

 private:
  Json for_template_ = Json::array(), told_ = Json::array();
  std::map<std::string, OfferedTool, std::less<>> by_name_;           // by the model's
  std::map<std::pair<std::string, std::string>, std::string> names_;  // the model's, by namespace and name
};

// The arguments of a call of a custom tool.
Json custom_arguments(const std::string& input);
// What the model wrote for it, which ought to be such arguments.
std::string custom_input(const std::string& arguments);

}  // namespace cachalot::responses
