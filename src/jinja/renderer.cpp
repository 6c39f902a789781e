#include "jinja/renderer.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "jinja/text.h"

namespace cachalot::jinja {

AttributedText Renderer::render(const nlohmann::ordered_json& variables, const Attribution& attribution) {
  variables_ = value_of(heap_, variables, attribution);
  kept_.push_back(activate(program_.slots, nullptr));
  now_ = kept_.back().get();
  return capture([&] {
    enter(program_.loads);
    run(program_.body);
  });
}

namespace {
int64_t held_bytes(const AttributedText& text) {
  return static_cast<int64_t>(text.text.size() + text.provenance.heap_bytes());
}
}  // namespace

void Renderer::emit(const AttributedText& text) {
  heap_.spend_bytes(text.text.size());
  heap_.check_text(static_cast<int64_t>(out_->text.size() + text.text.size()));
  const int64_t held = held_bytes(*out_);
  out_->append(text);
  heap_.check_text(*out_);
  heap_.hold(held_bytes(*out_) - held);
}

AttributedText Renderer::capture(const std::function<void()>& work) {
  AttributedText text;
  AttributedText* const outer = out_;
  out_ = &text;
  work();
  out_ = outer;
  heap_.release(held_bytes(text));
  return text;
}

Flow Renderer::run(const Body& body) {
  for (const auto& stmt : body) {
    const Flow flow = run(*stmt);
    if (flow != Flow::onward) return flow;
  }
  return Flow::onward;
}

namespace {
constexpr int kMostNested = 1000;  // of statements and expressions in each other, through macros
struct Deeper {
  explicit Deeper(int& depth) : depth(depth) {
    if (++depth > kMostNested) {
      --depth;
      throw Failure{"the template recurses too deeply"};
    }
  }
  ~Deeper() { --depth; }
  int& depth;
};
}  // namespace

Flow Renderer::run(const Stmt& stmt) {
  const Deeper deeper(depth_);
  heap_.spend(1);
  line_ = stmt.line;
  switch (stmt.kind) {
    case StmtKind::output: run_output(stmt); break;
    case StmtKind::set: {
      check_namespaces(*stmt.target);
      assign(*stmt.target, eval(*stmt.expr));
      break;
    }
    case StmtKind::set_block: return run_set_block(stmt);
    case StmtKind::loop: return run_loop(stmt);
    case StmtKind::branch: return run_branch(stmt);
    case StmtKind::with: return run_with(stmt);
    case StmtKind::macro: variable(stmt.target->place) = make_macro(*stmt.macro); break;
    case StmtKind::call_block: run_call_block(stmt); break;
    case StmtKind::generation: {
      const Value body = make_macro(*stmt.macro);
      emit(call(body, {}).as_text());
      break;
    }
    case StmtKind::filter: return run_filter(stmt);
    case StmtKind::stop: return Flow::stop;
    case StmtKind::skip: return Flow::skip;
  }
  return Flow::onward;
}

void Renderer::run_output(const Stmt& stmt) {
  for (const Piece& piece : stmt.pieces) {
    if (!piece.expr) {
      emit(piece.text.as_text());
    } else if (const Value value = eval(*piece.expr); value.is(Kind::string)) {
      emit(value.as_text());
    } else {
      emit(str(heap_, value));
    }
  }
}

Flow Renderer::run_branch(const Stmt& stmt) {
  for (const auto& [condition, body] : stmt.branches) {
    if (truthy(eval(*condition))) return run(body);
  }
  return run(stmt.else_body);
}

Flow Renderer::run_with(const Stmt& stmt) {
  enter(stmt.loads);
  for (size_t i = 0; i < stmt.targets.size(); ++i) assign(*stmt.targets[i], eval(*stmt.values[i]));
  const Flow flow = run(stmt.body);
  leave(stmt.loads);
  return flow;
}

Flow Renderer::run_set_block(const Stmt& stmt) {
  enter(stmt.loads);
  Flow flow = Flow::onward;
  AttributedText text = capture([&] { flow = run(stmt.body); });
  if (flow == Flow::onward) {
    Value value = heap_.text(std::move(text));
    if (stmt.expr) {
      filtered_ = value;
      value = eval(*stmt.expr);
    }
    check_namespaces(*stmt.target);
    assign(*stmt.target, value);
  }
  leave(stmt.loads);
  return flow;
}

Flow Renderer::run_filter(const Stmt& stmt) {
  enter(stmt.loads);
  Flow flow = Flow::onward;
  AttributedText text = capture([&] { flow = run(stmt.body); });
  if (flow == Flow::onward) {
    filtered_ = heap_.text(std::move(text));
    emit(str(heap_, eval(*stmt.expr)));
  }
  leave(stmt.loads);
  return flow;
}

void Renderer::run_call_block(const Stmt& stmt) {
  const Value caller = make_macro(*stmt.macro);
  const Value callee = eval(*stmt.expr->parts[0]);
  Args args = eval_arguments(*stmt.expr->arguments);
  for (const auto& [name, value] : args.named) {
    if (name.text == "caller") throw Failure{"a call block passes 'caller' twice"};
  }
  args.named.emplace_back(written("caller"), caller);
  line_ = stmt.line;
  emit(str(heap_, call(callee, std::move(args))));
}

// {% set ns.x = … %} is for namespaces only; this is checked before anything is evaluated.
void Renderer::check_namespaces(const Expr& target) {
  if (target.kind == ExprKind::attribute) {
    if (!variable(target.parts[0]->place).is(Kind::space)) {
      throw Failure{"cannot assign attribute on non-namespace object"};
    }
  } else if (target.kind == ExprKind::tuple) {
    for (const ExprPtr& part : target.parts) check_namespaces(*part);
  }
}

void Renderer::assign(const Expr& target, const Value& value) {
  if (target.kind == ExprKind::name) {
    variable(target.place) = value;
    return;
  }
  if (target.kind == ExprKind::attribute) {
    if (target.name.starts_with('_')) {
      throw Failure{fmt::format("a namespace cannot have the attribute '{}'", target.name)};
    }
    const Value space = variable(target.parts[0]->place);
    heap_.set(*space.as<Space>().attributes, heap_.text(written(target.name)), value);
    return;
  }
  if (!Cursor::accepts(value)) throw Failure{fmt::format("cannot unpack non-iterable {} object", type_name(value))};
  Values items;
  Cursor cursor(heap_, value);
  for (Value item; items.size() <= target.parts.size() && cursor.next(item);) heap_.push(items, item);
  if (items.size() < target.parts.size()) {
    throw Failure{
        fmt::format("not enough values to unpack (expected {}, got {})", target.parts.size(), items.size())};
  }
  if (items.size() > target.parts.size()) {
    throw Failure{fmt::format("too many values to unpack (expected {})", target.parts.size())};
  }
  for (size_t i = 0; i < items.size(); ++i) assign(*target.parts[i], items[i]);
}

// --- Expressions enter here, so that they share the bound on depth. ---

Value Renderer::eval(const Expr& expr) {
  const Deeper deeper(depth_);
  heap_.spend(1);
  switch (expr.kind) {
    case ExprKind::constant: return expr.value;
    case ExprKind::name: return eval_name(expr);
    case ExprKind::attribute: {
      const Value object = eval(*expr.parts[0]);
      line_ = expr.line;
      return attribute(object, expr.name);
    }
    case ExprKind::item: {
      const Value object = eval(*expr.parts[0]);
      const Value key = eval(*expr.parts[1]);
      line_ = expr.line;
      return item(object, key);
    }
    case ExprKind::tuple: return heap_.tuple(eval_parts(expr));
    case ExprKind::list: return heap_.list(eval_parts(expr));
    case ExprKind::dict: return eval_dict(expr);
    case ExprKind::slice: return eval_slice(expr);
    case ExprKind::call: return eval_call(expr);
    case ExprKind::filter: return eval_filter(expr);
    case ExprKind::test: return eval_test(expr);
    case ExprKind::negation: return Value::boolean(!truthy(eval(*expr.parts[0])));
    case ExprKind::both: {
      Value left = eval(*expr.parts[0]);
      return truthy(left) ? eval(*expr.parts[1]) : left;
    }
    case ExprKind::either: {
      Value left = eval(*expr.parts[0]);
      return truthy(left) ? left : eval(*expr.parts[1]);
    }
    case ExprKind::concat: return eval_concat(expr);
    case ExprKind::compare: return eval_compare(expr);
    case ExprKind::conditional: return eval_conditional(expr);
    case ExprKind::minus:
    case ExprKind::plus:
    case ExprKind::binary: return eval_arithmetic(expr);
  }
  return Value::none();
}

}  // namespace cachalot::jinja
