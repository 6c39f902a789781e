// The expression half of the renderer (jinja_renderer.h).
#include <fmt/format.h>

#include "jinja/operators.h"
#include "jinja/renderer.h"
#include "jinja/text.h"

namespace cachalot::jinja {

Value Renderer::eval_name(const Expr& expr) {
  const Value& value = variable(expr.place);
  return value.is_missing() ? heap_.undefined(repr(expr.name) + " is undefined") : value;
}

Values Renderer::eval_parts(const Expr& expr) {
  Values values;
  values.reserve(expr.parts.size());
  for (const ExprPtr& part : expr.parts) values.push_back(eval(*part));
  return values;
}

Value Renderer::eval_dict(const Expr& expr) {
  auto dict = heap_.dict();
  for (size_t i = 0; i + 1 < expr.parts.size(); i += 2) {
    const Value key = eval(*expr.parts[i]);
    Value value = eval(*expr.parts[i + 1]);
    line_ = expr.line;
    heap_.set(*dict, key, std::move(value));
  }
  return heap_.value(std::move(dict));
}

Value Renderer::eval_slice(const Expr& expr) {
  const Value object = eval(*expr.parts[0]);
  Value bounds[3];
  for (size_t i = 0; i < 3; ++i) {
    if (expr.parts[i + 1]) bounds[i] = eval(*expr.parts[i + 1]);
  }
  line_ = expr.line;
  return slice(heap_, object, bounds[0], bounds[1], bounds[2]);
}

Value Renderer::eval_arithmetic(const Expr& expr) {
  const Value left = eval(*expr.parts[0]);
  if (expr.kind != ExprKind::binary) {
    line_ = expr.line;
    return negate(left, expr.kind == ExprKind::minus);
  }
  const Value right = eval(*expr.parts[1]);
  line_ = expr.line;
  return binary_operation(heap_, expr.name, left, right);
}

Value Renderer::eval_concat(const Expr& expr) {
  AttributedText text;
  for (const Value& value : eval_parts(expr)) {
    text.append(str(heap_, value));
    heap_.check_text(text);
  }
  return heap_.text(std::move(text));
}

Value Renderer::eval_compare(const Expr& expr) {
  Value left = eval(*expr.parts[0]);
  for (size_t i = 0; i < expr.operators.size(); ++i) {
    Value right = eval(*expr.parts[i + 1]);
    line_ = expr.line;
    if (!compare(heap_, expr.operators[i], left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Renderer::eval_conditional(const Expr& expr) {
  if (truthy(eval(*expr.parts[0]))) return eval(*expr.parts[1]);
  if (expr.parts[2]) return eval(*expr.parts[2]);
  return heap_.undefined("the inline if-expression evaluated to false and no else section was defined.");
}

Args Renderer::eval_arguments(const Arguments& arguments) {
  Args args;
  for (const ExprPtr& argument : arguments.positional) args.positional.push_back(eval(*argument));
  for (const auto& [name, argument] : arguments.named) args.named.emplace_back(written(name), eval(*argument));
  if (arguments.star) {
    for (Value& value : to_list(heap_, eval(*arguments.star))) args.positional.push_back(std::move(value));
  }
  if (arguments.star_star) {
    const Value more = eval(*arguments.star_star);
    if (!more.is(Kind::dict)) throw Failure{"argument after ** must be a mapping"};
    for (const auto& [key, value] : more.dict().entries) {
      if (!key.is(Kind::string)) throw Failure{"keywords must be strings"};
      for (size_t i = 0; i < arguments.named.size(); ++i) {
        if (args.named[i].first.text == key.text()) {
          throw Failure{fmt::format("got multiple values for keyword argument '{}'", key.text())};
        }
      }
      args.named.emplace_back(key.as_text(), value);
    }
  }
  return args;
}

Value Renderer::eval_call(const Expr& expr) {
  const Value callee = eval(*expr.parts[0]);
  Args args = eval_arguments(*expr.arguments);
  line_ = expr.line;
  return call(callee, std::move(args));
}

Value Renderer::eval_filter(const Expr& expr) {
  Value subject = expr.parts[0] ? eval(*expr.parts[0]) : filtered_;
  Args args = eval_arguments(*expr.arguments);
  line_ = expr.line;
  if (!expr.builtin) throw Failure{fmt::format("No filter named '{}' found.", expr.name)};
  return run_builtin(*this, *expr.builtin, std::move(subject), args);
}

Value Renderer::eval_test(const Expr& expr) {
  Value subject = eval(*expr.parts[0]);
  Args args = eval_arguments(*expr.arguments);
  line_ = expr.line;
  if (!expr.builtin) throw Failure{fmt::format("No test named '{}' found.", expr.name)};
  return run_builtin(*this, *expr.builtin, std::move(subject), args);
}

Value Renderer::filter(std::string_view name, Value subject, Args args) {
  const Builtin* builtin = find_filter(name);
  if (!builtin) throw Failure{fmt::format("No filter named '{}'.", name)};
  return run_builtin(*this, *builtin, std::move(subject), args);
}

bool Renderer::test(std::string_view name, Value subject, Args args) {
  const Builtin* builtin = find_test(name);
  if (!builtin) throw Failure{fmt::format("No test named '{}'.", name)};
  return truthy(run_builtin(*this, *builtin, std::move(subject), args));
}

namespace {

bool is_reserved(std::string_view name) { return name.starts_with("__") && name.ends_with("__"); }

// Python's methods that change their object; the sandbox makes them undefined.
bool is_unsafe(const Value& object, std::string_view name) {
  static constexpr std::string_view kOfLists[] = {"append", "clear", "pop",    "reverse",
                                                  "insert", "sort",  "extend", "remove"};
  static constexpr std::string_view kOfDicts[] = {"clear", "pop", "popitem", "setdefault", "update"};
  const auto among = [&](const auto& names) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
  };
  return (object.is(Kind::list) && among(kOfLists)) || (object.is(Kind::dict) && among(kOfDicts));
}

Value undefined_of(Heap& heap, const Value& object, const Value& key) {
  const std::string type = object.is(Kind::none) ? "None" : type_name(object) + " object";
  if (key.is(Kind::string)) {
    heap.spend_bytes(key.text().size());
    return heap.undefined("'" + type + "' has no attribute " + repr(key.text()));
  }
  return heap.undefined(type + " has no element " + repr(heap, key).text);
}

Value method(Heap& heap, const Builtin& builtin, Value self) {
  auto function = std::make_shared<Function>();
  function->builtin = &builtin;
  const int nesting = self.nesting() + 1;
  function->self = std::move(self);
  heap.adopt(*function, sizeof(Function), nesting);
  return Value(Kind::function, std::move(function));
}

Value macro_attribute(Heap& heap, const MacroObject& object, std::string_view name) {
  const Macro& macro = *object.macro;
  if (name == "name") return macro.name.empty() ? Value::none() : heap.text(written(macro.name));
  if (name == "caller") return Value::boolean(macro.caller >= 0);
  if (name == "catch_kwargs") return Value::boolean(macro.kwargs >= 0);
  if (name == "catch_varargs") return Value::boolean(macro.varargs >= 0);
  if (name != "arguments") return Value::missing();
  Values names;
  for (const ExprPtr& parameter : macro.parameters) names.push_back(heap.text(written(parameter->name)));
  return heap.tuple(std::move(names));
}

Value loop_attribute(Heap& heap, Loop& loop, std::string_view name) {
  if (name == "index") return Value::integer(loop.index0 + 1);
  if (name == "index0") return Value::integer(loop.index0);
  if (name == "first") return Value::boolean(loop.index0 == 0);
  if (name == "last") return Value::boolean(loop.peek().is_missing());
  if (name == "length") return Value::integer(loop.length());
  if (name == "revindex") return Value::integer(loop.length() - loop.index0);
  if (name == "revindex0") return Value::integer(loop.length() - loop.index0 - 1);
  if (name == "depth") return Value::integer(1);
  if (name == "depth0") return Value::integer(0);
  if (name == "previtem") return loop.index0 == 0 ? heap.undefined("there is no previous item") : loop.before;
  if (name == "nextitem") {
    const Value& next = loop.peek();
    return next.is_missing() ? heap.undefined("there is no next item") : next;
  }
  return Value::missing();
}

}  // namespace

Value Renderer::own_attribute(const Value& object, const std::string& name) {
  Value found;
  switch (object.kind()) {
    case Kind::space: {
      const Value* value = heap_.find(*object.as<Space>().attributes, name);
      return value ? *value : Value::missing();
    }
    case Kind::macro: return macro_attribute(heap_, object.as<MacroObject>(), name);
    case Kind::loop:
      found = loop_attribute(heap_, object.as<Loop>(), name);
      if (!found.is_missing()) return found;
      break;
    case Kind::object: {
      const Helper& helper = object.as<Helper>();
      if (name == "current" && !helper.is_joiner) return helper.items[helper.at];
      break;
    }
    case Kind::range: {
      const Range& range = object.as<Range>();
      if (name == "start") return Value::integer(range.start);
      if (name == "stop") return Value::integer(range.stop);
      if (name == "step") return Value::integer(range.step);
      break;
    }
    case Kind::tuple:
      if (object.as<Items>().group && name == "grouper") return object.items()[0];
      if (object.as<Items>().group && name == "list") return object.items()[1];
      break;
    default: break;
  }
  const Builtin* builtin =
      object.is(Kind::string) ? find_string_method(name) : find_container_method(object.kind(), name);
  return builtin ? method(heap_, *builtin, object) : found;
}

Value Renderer::attribute(const Value& object, const std::string& name) {
  if (object.is(Kind::undefined)) throw Failure{object.as<Undefined>().message};
  if (!is_reserved(name)) {
    if (is_unsafe(object, name)) {
      return heap_.undefined(
          fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, type_name(object)));
    }
    Value found = own_attribute(object, name);
    if (found.is_missing() && object.is(Kind::dict)) {
      if (const Value* value = heap_.find(object.dict(), name)) found = *value;
    }
    if (!found.is_missing()) return found;
  }
  return undefined_of(heap_, object, heap_.text(written(name)));
}

Value Renderer::item(const Value& object, const Value& key) {
  Value found = subscript(heap_, object, key);
  if (!found.is_missing()) return found;
  if (key.is(Kind::string)) {
    const std::string name(key.text());
    if (is_unsafe(object, name)) return attribute(object, name);
    if (!is_reserved(name)) found = own_attribute(object, name);
    if (!found.is_missing()) return found;
  }
  return undefined_of(heap_, object, key);
}

Value Renderer::call(const Value& callee, Args args) {
  switch (callee.kind()) {
    case Kind::macro: return call_macro(callee.as<MacroObject>(), std::move(args));
    case Kind::function: {
      const Function& function = callee.as<Function>();
      return run_builtin(*this, *function.builtin, function.self, args);
    }
    case Kind::undefined: throw Failure{callee.as<Undefined>().message};
    case Kind::loop: throw Failure{"the loop must have the 'recursive' marker to be called recursively"};
    case Kind::object: return run_builtin(*this, *find_container_method(Kind::object, "__call__"), callee, args);
    default: throw Failure{fmt::format("'{}' object is not callable", type_name(callee))};
  }
}

}  // namespace cachalot::jinja
