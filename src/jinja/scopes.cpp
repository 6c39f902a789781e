// Decides, before a template runs, which variable each name means. Jinja compiles a template to Python functions
// whose local variables are named after the depth of the scope ("level") and the name; which of them a name refers to
// follows from the order of loads and stores in the text, not from what ran before. That has visible effects: a loop
// or macro that reads a name which the template sets later, outside, does not see the caller's variable of that name.
// The rules of jinja2/idtracking.py are therefore kept one by one.
#include <fmt/format.h>

#include <map>
#include <set>

#include "jinja/ast.h"
#include "jinja/lexer.h"

namespace cachalot::jinja {
namespace {

// One activation at run time: the template, a macro's body, or the test of a filtered loop.
struct Function {
  Function* outer = nullptr;
  int depth = 0;
  std::map<std::pair<int, std::string>, int> slots;

  int slot(int level, const std::string& name) {
    return slots.try_emplace({level, name}, static_cast<int>(slots.size())).first->second;
  }
};

// The names of one scope. Each has its own variable, which `loads` says how to fill at the start of the scope.
struct Symbols {
  struct Origin {
    Load::Action action;
    const Symbols* alias_of = nullptr;
  };
  const Symbols* parent = nullptr;
  Function* function = nullptr;
  int level = 0;
  std::map<std::string, Origin> names;
  std::set<std::string> stores;

  static Symbols inside(const Symbols& parent) { return {&parent, parent.function, parent.level + 1, {}, {}}; }

  const Symbols* owner(const std::string& name) const {
    const Symbols* scope = this;
    while (scope && !scope->names.count(name)) scope = scope->parent;
    return scope;
  }
  const Symbols* outer_owner(const std::string& name) const { return parent ? parent->owner(name) : nullptr; }

  void load(const std::string& name) {
    if (!owner(name)) names[name] = {Load::Action::resolve};
  }
  void store(const std::string& name) {
    stores.insert(name);
    if (names.count(name)) return;
    const Symbols* outer = outer_owner(name);
    names[name] = outer ? Origin{Load::Action::alias, outer} : Origin{Load::Action::undefined};
  }
  void declare(const std::string& name) {
    stores.insert(name);
    names[name] = {Load::Action::parameter};
  }
  // After an if: what only some branches set must have a value in the others.
  void merge(const std::vector<Symbols>& branches) {
    std::set<std::string> added;
    for (const Symbols& branch : branches) added.insert(branch.stores.begin(), branch.stores.end());
    for (const std::string& name : stores) added.erase(name);
    for (const Symbols& branch : branches) {
      for (const auto& [name, origin] : branch.names) names[name] = origin;
      stores.insert(branch.stores.begin(), branch.stores.end());
    }
    for (const std::string& name : added) {
      const Symbols* outer = outer_owner(name);
      names[name] = outer ? Origin{Load::Action::alias, outer} : Origin{Load::Action::resolve};
    }
  }
};

template <typename Visit>
void for_each_child(const Expr& expr, Visit visit) {
  for (const ExprPtr& part : expr.parts) {
    if (part) visit(*part);
  }
  if (!expr.arguments) return;
  for (const ExprPtr& argument : expr.arguments->positional) visit(*argument);
  for (const auto& [name, argument] : expr.arguments->named) visit(*argument);
  if (expr.arguments->star) visit(*expr.arguments->star);
  if (expr.arguments->star_star) visit(*expr.arguments->star_star);
}

bool is_namespace_target(const Expr& expr) { return expr.kind == ExprKind::attribute && expr.is_store; }

// Whether a body reads `name` before it declares it anywhere; looks into every scope.
class Search {
 public:
  explicit Search(std::string name) : name_(std::move(name)) {}
  bool in(const Body& body) {
    visit(body);
    return found_;
  }

 private:
  void visit(const Expr& expr) {
    if (done_ || is_namespace_target(expr)) return;
    if (expr.kind == ExprKind::name && expr.name == name_) {
      done_ = true;
      found_ = !expr.is_store;
    }
    for_each_child(expr, [this](const Expr& child) { visit(child); });
  }
  void visit(const ExprPtr& expr) {
    if (expr) visit(*expr);
  }
  void visit(const std::vector<ExprPtr>& exprs) {
    for (const ExprPtr& expr : exprs) visit(expr);
  }
  void visit(const Body& body) {
    for (const auto& stmt : body) {
      if (!done_) visit(*stmt);
    }
  }
  void visit(const Stmt& stmt) {
    if (stmt.kind == StmtKind::call_block) visit(stmt.expr);
    if (stmt.kind != StmtKind::macro) visit(stmt.target);
    visit(stmt.targets);
    visit(stmt.values);
    if (stmt.kind != StmtKind::filter) visit(stmt.expr);
    for (const Piece& piece : stmt.pieces) visit(piece.expr);
    for (const auto& [condition, body] : stmt.branches) visit(condition), visit(body);
    visit(stmt.body);
    visit(stmt.else_body);
    if (stmt.kind == StmtKind::filter) visit(stmt.expr);
    visit(stmt.test);
    if (!stmt.macro) return;
    visit(stmt.macro->parameters);
    visit(stmt.macro->defaults);
    visit(stmt.macro->body);
  }

  std::string name_;
  bool done_ = false, found_ = false;
};

ExprPtr copy_target(const Expr& target) {
  auto copy = std::make_unique<Expr>();
  copy->kind = target.kind;
  copy->line = target.line;
  copy->name = target.name;
  copy->is_store = target.is_store;
  for (const ExprPtr& part : target.parts) copy->parts.push_back(copy_target(*part));
  return copy;
}

class ScopePass {
 public:
  void run(Program& program) {
    Function function;
    Symbols symbols;
    symbols.function = &function;
    analyze(program.body, symbols);
    place(program.body, symbols);
    program.loads = loads_of(symbols);
    program.slots = static_cast<int>(function.slots.size());
  }

 private:
  // --- First visit of a scope: its symbols. Stops at inner scopes. ---

  void analyze(const Expr& expr, Symbols& symbols) {
    if (expr.kind == ExprKind::name) return expr.is_store ? symbols.store(expr.name) : symbols.load(expr.name);
    for_each_child(expr, [&](const Expr& child) { analyze(child, symbols); });
  }
  void analyze(const ExprPtr& expr, Symbols& symbols) {
    if (expr) analyze(*expr, symbols);
  }
  void analyze(const Body& body, Symbols& symbols) {
    for (const auto& stmt : body) analyze(*stmt, symbols);
  }
  void analyze(const Stmt& stmt, Symbols& symbols) {
    switch (stmt.kind) {
      case StmtKind::output:
        for (const Piece& piece : stmt.pieces) analyze(piece.expr, symbols);
        break;
      case StmtKind::set:
        analyze(stmt.expr, symbols);
        analyze(stmt.target, symbols);
        break;
      case StmtKind::set_block:
      case StmtKind::macro: analyze(stmt.target, symbols); break;
      case StmtKind::loop:
      case StmtKind::call_block:
      case StmtKind::filter: analyze(stmt.expr, symbols); break;
      case StmtKind::branch: analyze_branch(stmt, symbols); break;
      case StmtKind::with:
        for (const ExprPtr& value : stmt.values) analyze(value, symbols);
        break;
      case StmtKind::generation:
      case StmtKind::stop:
      case StmtKind::skip: break;
    }
  }

  void analyze_branch(const Stmt& stmt, Symbols& symbols) {
    analyze(stmt.branches[0].first, symbols);
    std::vector<Symbols> branches(3, copy(symbols));
    analyze(stmt.branches[0].second, branches[0]);
    for (size_t i = 1; i < stmt.branches.size(); ++i) {  // an elif is an if among the statements of one branch
      analyze(stmt.branches[i].first, branches[1]);
      std::vector<Symbols> inner(3, copy(branches[1]));
      analyze(stmt.branches[i].second, inner[0]);
      branches[1].merge(inner);
    }
    analyze(stmt.else_body, branches[2]);
    symbols.merge(branches);
  }

  Symbols copy(const Symbols& symbols) {
    constexpr int64_t kMaxWork = 2'000'000;
    work_ += 1 + static_cast<int64_t>(symbols.names.size());
    if (work_ > kMaxWork) throw LineFailure{1, "the template has too many names and conditions"};
    return symbols;
  }

  void declare(const Expr& target, Symbols& symbols) {
    if (target.kind == ExprKind::name) symbols.declare(target.name);
    for_each_child(target, [&](const Expr& child) { declare(child, symbols); });
  }

  // --- Second visit: the places of names, and the scopes inside. ---

  static Place place_of(const std::string& name, const Symbols& symbols) {
    const Symbols* owner = symbols.owner(name);
    return {symbols.function->depth - owner->function->depth, owner->function->slot(owner->level, name)};
  }

  static Loads loads_of(const Symbols& symbols) {
    Loads loads;
    for (const auto& [name, origin] : symbols.names) {
      Load load{origin.action, symbols.function->slot(symbols.level, name), name, {}};
      if (const Symbols* source = origin.alias_of) {
        load.source = {symbols.function->depth - source->function->depth,
                       source->function->slot(source->level, name)};
      }
      loads.push_back(std::move(load));
    }
    return loads;
  }

  void place(Expr& expr, Symbols& symbols) {
    if (expr.kind == ExprKind::name) {
      if (!symbols.owner(expr.name)) symbols.load(expr.name);  // only in the arguments of a set block's filter
      expr.place = place_of(expr.name, symbols);
    }
    for_each_child(expr, [&](const Expr& child) { place(const_cast<Expr&>(child), symbols); });
  }
  void place(const ExprPtr& expr, Symbols& symbols) {
    if (expr) place(*expr, symbols);
  }
  void place(Body& body, Symbols& symbols) {
    for (const auto& stmt : body) place(*stmt, symbols);
  }

  void place(Stmt& stmt, Symbols& symbols) {
    for (const Piece& piece : stmt.pieces) place(piece.expr, symbols);
    for (auto& [condition, body] : stmt.branches) place(condition, symbols), place(body, symbols);
    switch (stmt.kind) {
      case StmtKind::set: place(stmt.target, symbols), place(stmt.expr, symbols); break;
      case StmtKind::set_block: place_set_block(stmt, symbols); break;
      case StmtKind::loop: place_loop(stmt, symbols); break;
      case StmtKind::branch: place(stmt.else_body, symbols); break;
      case StmtKind::with: place_with(stmt, symbols); break;
      case StmtKind::macro:
      case StmtKind::generation: place(stmt.target, symbols), place_macro(stmt, symbols); break;
      case StmtKind::call_block: place(stmt.expr, symbols), place_macro(stmt, symbols); break;
      case StmtKind::filter: place_filter(stmt, symbols); break;
      default: break;
    }
  }

  void place_set_block(Stmt& stmt, Symbols& symbols) {
    Symbols inner = Symbols::inside(symbols);
    analyze(stmt.body, inner);
    place(stmt.body, inner);
    place(stmt.expr, inner);
    place(stmt.target, symbols);
    stmt.loads = loads_of(inner);
  }

  void place_filter(Stmt& stmt, Symbols& symbols) {
    Symbols inner = Symbols::inside(symbols);
    analyze(stmt.body, inner);
    analyze(stmt.expr, inner);
    place(stmt.body, inner);
    place(stmt.expr, inner);
    stmt.loads = loads_of(inner);
  }

  void place_with(Stmt& stmt, Symbols& symbols) {
    Symbols inner = Symbols::inside(symbols);
    for (const ExprPtr& target : stmt.targets) declare(*target, inner);
    analyze(stmt.body, inner);
    for (const ExprPtr& value : stmt.values) place(value, symbols);
    for (const ExprPtr& target : stmt.targets) place(target, inner);
    place(stmt.body, inner);
    stmt.loads = loads_of(inner);
  }

  void place_loop(Stmt& stmt, Symbols& symbols) {
    place(stmt.expr, symbols);
    Symbols inner = Symbols::inside(symbols);
    const bool uses_loop = Search("loop").in(stmt.body);
    if (uses_loop) inner.declare("loop");
    declare(*stmt.target, inner);
    analyze(stmt.body, inner);
    place(stmt.target, inner);
    place(stmt.body, inner);
    if (uses_loop) stmt.loop_slot = place_of("loop", inner).slot;
    stmt.loads = loads_of(inner);

    Symbols otherwise = Symbols::inside(symbols);
    analyze(stmt.else_body, otherwise);
    place(stmt.else_body, otherwise);
    stmt.else_loads = loads_of(otherwise);
    if (stmt.test) place_test(stmt, symbols);
  }

  void place_test(Stmt& stmt, Symbols& symbols) {
    Function function{symbols.function, symbols.function->depth + 1, {}};
    Symbols inner = Symbols::inside(symbols);
    inner.function = &function;
    stmt.test_target = copy_target(*stmt.target);
    declare(*stmt.test_target, inner);
    analyze(stmt.test, inner);
    place(stmt.test_target, inner);
    place(stmt.test, inner);
    stmt.test_loads = loads_of(inner);
    stmt.test_slots = static_cast<int>(function.slots.size());
  }

  void place_macro(Stmt& stmt, Symbols& symbols) {
    Macro& macro = *stmt.macro;
    Function function{symbols.function, symbols.function->depth + 1, {}};
    Symbols inner = Symbols::inside(symbols);
    inner.function = &function;
    for (const ExprPtr& parameter : macro.parameters) declare(*parameter, inner);
    declare_special(stmt, inner);
    for (const ExprPtr& value : macro.defaults) analyze(value, inner);
    analyze(macro.body, inner);
    for (const ExprPtr& parameter : macro.parameters) place(parameter, inner);
    for (const ExprPtr& value : macro.defaults) place(value, inner);
    place(macro.body, inner);
    macro.loads = loads_of(inner);
    macro.slots = static_cast<int>(function.slots.size());
  }

  // caller, kwargs and varargs exist in a macro that mentions them.
  void declare_special(const Stmt& stmt, Symbols& inner) {
    Macro& macro = *stmt.macro;
    const size_t required = macro.parameters.size() - macro.defaults.size();
    for (const auto& [name, slot] : {std::pair<const char*, int*>{"caller", &macro.caller},
                                     {"kwargs", &macro.kwargs},
                                     {"varargs", &macro.varargs}}) {
      bool is_parameter = false;
      for (size_t i = 0; i < macro.parameters.size(); ++i) {
        if (macro.parameters[i]->name != name) continue;
        is_parameter = true;
        if (slot == &macro.caller) {
          macro.explicit_caller = true;
          if (i < required && Search(name).in(macro.body)) {
            throw LineFailure{stmt.line, "the special \"caller\" argument must be omitted or be given a default"};
          }
        }
      }
      if (is_parameter || !Search(name).in(macro.body)) continue;
      inner.declare(name);
      *slot = inner.function->slot(inner.level, name);
    }
  }

  int64_t work_ = 0;
};

}  // namespace

void resolve_scopes(Program& program) { ScopePass().run(program); }

}  // namespace cachalot::jinja
