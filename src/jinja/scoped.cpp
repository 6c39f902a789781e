// Loops, macros and their scopes: the rest of the renderer (jinja_renderer.h).
#include <fmt/format.h>

#include "jinja/renderer.h"
#include "jinja/text.h"

namespace cachalot::jinja {

Activation* Renderer::activation(int hops) const {
  Activation* found = now_;
  while (hops-- > 0) found = found->outer;
  return found;
}

std::unique_ptr<Activation> Renderer::activate(int slots, Activation* outer) {
  heap_.spend(1 + slots / 8);
  auto activation = std::make_unique<Activation>();
  activation->outer = outer;
  activation->slots.resize(static_cast<size_t>(slots));
  return activation;
}

Activation* Renderer::keep(std::unique_ptr<Activation> activation) {
  heap_.hold(static_cast<int64_t>(sizeof(Activation) + activation->slots.capacity() * sizeof(Value)));
  kept_.push_back(std::move(activation));
  return kept_.back().get();
}

void Renderer::enter(const Loads& loads) {
  for (const Load& load : loads) {
    Value& slot = now_->slots[static_cast<size_t>(load.slot)];
    switch (load.action) {
      case Load::Action::parameter: break;
      case Load::Action::resolve: slot = resolve(load.name); break;
      case Load::Action::alias: slot = variable(load.source); break;
      case Load::Action::undefined: slot = Value::missing(); break;
    }
  }
  heap_.spend(static_cast<int64_t>(loads.size()));
}

void Renderer::leave(const Loads& loads) {
  for (const Load& load : loads) now_->slots[static_cast<size_t>(load.slot)] = Value::missing();
}

// A name that no scope of the template sets: a variable of the caller, or a global function.
Value Renderer::resolve(const std::string& name) {
  if (const Value* value = heap_.find(variables_.dict(), name)) return *value;
  const Builtin* builtin = find_global(name);
  if (!builtin) return Value::missing();
  auto function = std::make_shared<Function>();
  function->builtin = builtin;
  heap_.adopt(*function, sizeof(Function), 0);
  return Value(Kind::function, std::move(function));
}

// --- Loops. ---

bool Loop::advance(Value& item) {
  if (!after.is_missing()) {
    item = std::move(after);
    after = Value::missing();
  } else if (!cursor.next(item)) {
    return false;
  }
  ++index0;
  before = std::move(current);
  current = item;
  return true;
}

const Value& Loop::peek() {
  if (after.is_missing()) {
    Value item;
    if (cursor.next(item)) after = std::move(item);
  }
  return after;
}

int64_t Loop::length() {
  if (known_length >= 0) return known_length;
  if (has_length(source)) return known_length = jinja::length(heap, source);
  Values rest;
  for (Value item; cursor.next(item);) heap.push(rest, item);
  known_length = static_cast<int64_t>(rest.size()) + index0 + 1 + (after.is_missing() ? 0 : 1);
  cursor = Cursor(heap, heap.list(std::move(rest)));
  return known_length;
}

// The items of `source` that pass the loop's test, which runs in variables of its own when the loop asks for an item.
Value Renderer::tested(const Stmt& stmt, const Value& source) {
  Activation* const own = keep(activate(stmt.test_slots, now_));
  now_->captured = true;
  auto cursor = std::make_shared<Cursor>(heap_, source);
  bool entered = false;
  return heap_.iterator(
      [this, &stmt, own, cursor, entered](Value& item) mutable {
        Activation* const outer = now_;
        now_ = own;
        if (!entered) enter(stmt.test_loads);
        entered = true;
        bool found = false;
        while (!found && cursor->next(item)) {
          assign(*stmt.test_target, item);
          found = truthy(eval(*stmt.test));
        }
        now_ = outer;
        return found;
      },
      source.nesting());
}

Flow Renderer::run_loop(const Stmt& stmt) {
  Value source = eval(*stmt.expr);
  line_ = stmt.line;
  if (stmt.test) source = tested(stmt, source);
  Flow flow = Flow::onward;
  const bool completed = run_items(stmt, source, flow);
  leave(stmt.loads);
  if (completed || stmt.else_body.empty()) return flow;
  enter(stmt.else_loads);
  flow = run(stmt.else_body);
  leave(stmt.else_loads);
  return flow;
}

// True when at least one round ran to its end; otherwise, as in jinja2, the else branch runs, even after a break.
bool Renderer::run_items(const Stmt& stmt, const Value& source, Flow& flow) {
  auto loop = std::make_shared<Loop>(heap_, source);
  heap_.adopt(*loop, sizeof(Loop), source.nesting() + 1);
  const Value loop_value(Kind::loop, loop);
  bool completed = false;
  for (Value item; loop->advance(item);) {
    assign(*stmt.target, item);
    if (stmt.loop_slot >= 0) now_->slots[static_cast<size_t>(stmt.loop_slot)] = loop_value;
    enter(stmt.loads);
    const Flow round = run(stmt.body);
    if (round == Flow::stop) break;
    if (round == Flow::onward) completed = true;
  }
  flow = Flow::onward;
  return completed;
}

// --- Macros. ---

Value Renderer::make_macro(const Macro& macro) {
  auto object = std::make_shared<MacroObject>();
  object->macro = &macro;
  object->outer = now_;
  now_->captured = true;
  heap_.adopt(*object, sizeof(MacroObject), 0);
  return Value(Kind::macro, std::move(object));
}

Value Renderer::call_macro(const MacroObject& object, Args args) {
  const Macro& macro = *object.macro;
  std::unique_ptr<Activation> own = activate(macro.slots, object.outer);
  Activation* const outer = now_;
  bind(macro, std::move(args), *own);
  now_ = own.get();
  AttributedText text = capture([&] {
    enter(macro.loads);
    fill_defaults(macro);
    run(macro.body);
  });
  now_ = outer;
  if (own->captured) keep(std::move(own));
  return heap_.text(std::move(text));
}

void Renderer::bind(const Macro& macro, Args args, Activation& activation) {
  const auto take = [&](std::string_view name) {
    for (auto named = args.named.begin(); named != args.named.end(); ++named) {
      if (named->first.text != name) continue;
      Value value = std::move(named->second);
      args.named.erase(named);
      return value;
    }
    return Value::missing();
  };
  const auto slot = [&](int index) -> Value& { return activation.slots[static_cast<size_t>(index)]; };
  const size_t count = macro.parameters.size();
  for (size_t i = 0; i < count; ++i) {
    Value value = i < args.positional.size() ? args.positional[i] : take(macro.parameters[i]->name);
    slot(macro.parameters[i]->place.slot) = std::move(value);
  }
  if (macro.caller >= 0) {
    Value caller = take("caller");
    const bool given = !caller.is_missing() && !caller.is(Kind::none);
    slot(macro.caller) = given ? std::move(caller) : heap_.undefined("No caller defined");
  }
  if (macro.kwargs >= 0) {
    auto rest = heap_.dict();
    for (auto& [name, value] : args.named) heap_.set(*rest, heap_.text(name), std::move(value));
    slot(macro.kwargs) = heap_.value(std::move(rest));
  } else if (!args.named.empty()) {
    throw Failure{fmt::format("macro '{}' takes no keyword argument '{}'", macro.name, args.named[0].first.text)};
  }
  if (macro.varargs >= 0) {
    Values rest;
    for (size_t i = count; i < args.positional.size(); ++i) rest.push_back(args.positional[i]);
    slot(macro.varargs) = heap_.tuple(std::move(rest));
  } else if (args.positional.size() > count) {
    throw Failure{fmt::format("macro '{}' takes not more than {} argument(s)", macro.name, count)};
  }
}

void Renderer::fill_defaults(const Macro& macro) {
  const size_t required = macro.parameters.size() - macro.defaults.size();
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    Value& slot = variable(macro.parameters[i]->place);
    if (!slot.is_missing()) continue;
    const std::string& name = macro.parameters[i]->name;
    Value value = i < required ? heap_.undefined("parameter " + repr(name) + " was not provided")
                               : eval(*macro.defaults[i - required]);
    slot = std::move(value);
  }
}

}  // namespace cachalot::jinja
