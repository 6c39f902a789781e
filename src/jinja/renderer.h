// Runs a parsed template. Statements are in jinja_renderer.cpp, expressions in jinja_expressions.cpp, loops and
// macros in jinja_scoped.cpp.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "jinja/ast.h"
#include "jinja/builtins.h"

namespace cachalot::jinja {

// The variables of one running function: the template, a macro, a loop's test.
struct Activation {
  Activation* outer = nullptr;
  Values slots;
  bool captured = false;  // a macro or a lazy test refers to it: it lives to the end
};

// JSON as a value (jinja_variables.cpp).
Value value_of(Heap& heap, const nlohmann::ordered_json& json, const Attribution& attribution);

enum class Flow : uint8_t { onward, stop, skip };

class Renderer {
 public:
  Renderer(const Program& program, const Limits& limits) : heap_(limits), program_(program) {}
  // Throws Failure; line() is then the line that failed.
  AttributedText render(const nlohmann::ordered_json& variables, const Attribution& attribution);

  Heap& heap() { return heap_; }
  int line() const { return line_; }

  // Jinja's obj.name and obj[key]: an attribute or an item, whichever there is; undefined when there is neither.
  Value attribute(const Value& object, const std::string& name);
  Value item(const Value& object, const Value& key);
  // Only what is an attribute: a method, a namespace's value, a loop's state; missing when there is none.
  Value own_attribute(const Value& object, const std::string& name);
  Value call(const Value& callee, Args args);
  Value filter(std::string_view name, Value subject, Args args);  // by name, as |map does
  bool test(std::string_view name, Value subject, Args args);

 private:
  // Statements.
  Flow run(const Body& body);
  Flow run(const Stmt& stmt);
  void run_output(const Stmt& stmt);
  Flow run_branch(const Stmt& stmt);
  Flow run_with(const Stmt& stmt);
  Flow run_set_block(const Stmt& stmt);
  Flow run_filter(const Stmt& stmt);
  void run_call_block(const Stmt& stmt);
  Flow run_loop(const Stmt& stmt);
  bool run_items(const Stmt& stmt, const Value& source, Flow& flow);
  Value tested(const Stmt& stmt, const Value& source);
  void assign(const Expr& target, const Value& value);
  void check_namespaces(const Expr& target);

  // Scopes.
  void enter(const Loads& loads);
  void leave(const Loads& loads);
  Activation* activation(int hops) const;
  Value& variable(Place place) { return activation(place.hops)->slots[static_cast<size_t>(place.slot)]; }
  Value resolve(const std::string& name);
  std::unique_ptr<Activation> activate(int slots, Activation* outer);
  Activation* keep(std::unique_ptr<Activation> activation);
  Value make_macro(const Macro& macro);
  Value call_macro(const MacroObject& macro, Args args);
  void bind(const Macro& macro, Args args, Activation& activation);
  void fill_defaults(const Macro& macro);

  // Expressions.
  Value eval(const Expr& expr);
  Value eval_name(const Expr& expr);
  Value eval_slice(const Expr& expr);
  Value eval_arithmetic(const Expr& expr);
  Value eval_call(const Expr& expr);
  Value eval_filter(const Expr& expr);
  Value eval_test(const Expr& expr);
  Value eval_concat(const Expr& expr);
  Value eval_compare(const Expr& expr);
  Value eval_dict(const Expr& expr);
  Value eval_conditional(const Expr& expr);
  Values eval_parts(const Expr& expr);
  Args eval_arguments(const Arguments& arguments);

  // Output: text goes to the innermost capture.
  void emit(const AttributedText& text);
  AttributedText capture(const std::function<void()>& work);  // what `work` prints

  Heap heap_;
  const Program& program_;
  Value variables_;                                // a dict
  std::vector<std::unique_ptr<Activation>> kept_;  // the captured ones
  Activation* now_ = nullptr;
  AttributedText* out_ = nullptr;
  Value filtered_;  // the text that the filters of a set or filter block start from
  int line_ = 1;
  int depth_ = 0;
};

}  // namespace cachalot::jinja
