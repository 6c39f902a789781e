// The variables of a template: JSON as values.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "jinja/renderer.h"
#include "jinja/text.h"

namespace cachalot::jinja {
namespace {

using Json = nlohmann::ordered_json;

class JsonReader {
 public:
  JsonReader(Heap& heap, const Attribution& attribution) : heap_(heap), attribution_(attribution) {}

  Value read(const Json& json, int nesting) {
    if (nesting > kMaxNesting) throw Failure{fmt::format("variables nested more than {} deep", kMaxNesting)};
    switch (json.type()) {
      case Json::value_t::null: return Value::none();
      case Json::value_t::boolean: return Value::boolean(json.get<bool>());
      case Json::value_t::number_integer: return Value::integer(json.get<int64_t>());
      case Json::value_t::number_unsigned:
        if (json.get<uint64_t>() > INT64_MAX) return heap_.long_integer(json.dump());
        return Value::integer(json.get<int64_t>());
      case Json::value_t::binary:  // an integer of more digits, as parse_ordered_json holds it
        return heap_.long_integer({json.get_binary().begin(), json.get_binary().end()});
      case Json::value_t::number_float: return Value::real(json.get<double>());
      case Json::value_t::string: return text(json.get_ref<const std::string&>(), "text");
      case Json::value_t::array: {
        Values items;
        for (const Json& item : json) heap_.push(items, read(item, nesting + 1));
        return heap_.list(std::move(items));
      }
      case Json::value_t::object: {
        auto dict = heap_.dict();
        for (const auto& [name, value] : json.get_ref<const Json::object_t&>()) {
          const Value key = text(name, "name");
          heap_.set(*dict, key, read(value, nesting + 1));
        }
        return heap_.value(std::move(dict));
      }
      default: throw Failure{"variables must be plain JSON"};
    }
  }

 private:
  Value text(const std::string& string, const char* what) {
    if (!is_utf8(string)) throw Failure{fmt::format("a {} among the variables is not valid UTF-8", what)};
    const auto found = attribution_.find(&string);
    return heap_.text({string, found == attribution_.end() ? Provenance() : found->second});
  }

  Heap& heap_;
  const Attribution& attribution_;
};

}  // namespace

Value value_of(Heap& heap, const Json& json, const Attribution& attribution) {
  return JsonReader(heap, attribution).read(json, 0);
}

}  // namespace cachalot::jinja
