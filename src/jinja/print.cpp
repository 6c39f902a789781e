// str() and repr() of values, and the names of their types.
#include <fmt/format.h>

#include "jinja/ast.h"
#include "jinja/text.h"
#include "jinja/value.h"

namespace cachalot::jinja {

std::string type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::missing:
    case Kind::undefined: return "Undefined";
    case Kind::none: return "NoneType";
    case Kind::boolean: return "bool";
    case Kind::integer: return "int";
    case Kind::real: return "float";
    case Kind::string: return value.as_text().markup ? "Markup" : "str";
    case Kind::list: return "list";
    case Kind::tuple: return "tuple";
    case Kind::dict: return "dict";
    case Kind::view: return value.as<Items>().name;
    case Kind::range: return "range";
    case Kind::iterator: return value.as<Iterator>().name;
    case Kind::space: return "Namespace";
    case Kind::macro: return "Macro";
    case Kind::function: return "builtin_function_or_method";
    case Kind::loop: return "LoopContext";
    case Kind::object: return "object";
  }
  return "object";
}

namespace {

class Printer {
 public:
  explicit Printer(Heap& heap) : heap_(heap) {}
  AttributedText take() { return std::move(out_); }

  void print(const Value& value) {
    heap_.spend(1);
    switch (value.kind()) {
      case Kind::missing:
      case Kind::undefined: return put("Undefined");
      case Kind::none: return put("None");
      case Kind::boolean: return put(value.as_bool() ? "True" : "False");
      case Kind::integer: return put(digits(value));
      case Kind::real: return put(repr(value.as_real()));
      case Kind::string: return put_text(value.as_text());
      case Kind::list: return print_items("[", value.items(), "]");
      case Kind::tuple: return print_items("(", value.items(), value.items().size() == 1 ? ",)" : ")");
      case Kind::view: put(value.as<Items>().name); return print_items("([", value.items(), "])");
      case Kind::dict: return print_dict(value.dict());
      case Kind::range: return print_range(value.as<Range>());
      case Kind::space: return print_space(value.as<Space>());
      case Kind::macro: {
        const std::string& name = value.as<MacroObject>().macro->name;
        return put(name.empty() ? "<Macro anonymous>" : "<Macro " + repr(name) + ">");
      }
      case Kind::loop: {
        Loop& loop = value.as<Loop>();
        return put(fmt::format("<LoopContext {}/{}>", loop.index0 + 1, loop.length()));
      }
      default: return put("<" + type_name(value) + " object>");
    }
  }

 private:
  void put(std::string_view text) {
    heap_.spend_bytes(text.size());
    heap_.check_text(static_cast<int64_t>(out_.text.size() + text.size()));
    out_.write(text);
  }
  void put_text(const Text& text) {
    heap_.spend(static_cast<int64_t>(text.text.size()));
    if (text.markup) put("Markup(");
    const AttributedText quoted = repr(text);
    heap_.spend_bytes(quoted.text.size());
    out_.append(quoted);
    heap_.check_text(out_);
    if (text.markup) put(")");
  }
  void print_items(const char* open, const Values& items, const char* close) {
    put(open);
    for (size_t i = 0; i < items.size(); ++i) {
      if (i) put(", ");
      print(items[i]);
    }
    put(close);
  }
  void print_dict(const Dict& dict) {
    put("{");
    for (size_t i = 0; i < dict.entries.size(); ++i) {
      if (i) put(", ");
      print(dict.entries[i].first);
      put(": ");
      print(dict.entries[i].second);
    }
    put("}");
  }
  void print_range(const Range& range) {
    put(fmt::format("range({}, {}", range.start, range.stop));
    put(range.step == 1 ? ")" : fmt::format(", {})", range.step));
  }
  void print_space(const Space& space) {
    if (++spaces_ > kMaxNesting) throw Failure{"a namespace contains itself"};
    put("<Namespace ");
    print_dict(*space.attributes);
    put(">");
    --spaces_;
  }

  Heap& heap_;
  AttributedText out_;
  int spaces_ = 0;
};

}  // namespace

AttributedText repr(Heap& heap, const Value& value) {
  Printer printer(heap);
  printer.print(value);
  return printer.take();
}

AttributedText str(Heap& heap, const Value& value) {
  if (value.is(Kind::string)) {
    heap.spend_bytes(value.text().size());
    return value.as_text();
  }
  if (value.is(Kind::undefined)) return {};
  return repr(heap, value);
}

}  // namespace cachalot::jinja
