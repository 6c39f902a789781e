// The parsed template. The parser builds it, the scope pass (jinja_scopes.cpp) decides where each name lives, the
// renderer reads it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "jinja/value.h"

namespace cachalot::jinja {

struct Builtin;
struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

// Where a name lives: slot number `slot` of the activation `hops` functions further out.
struct Place {
  int hops = 0;
  int slot = -1;
};

struct Arguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star, star_star;  // *args, **kwargs; null when absent
};

enum class ExprKind : uint8_t {
  constant,     // value
  name,         // name, place
  attribute,    // parts[0].name; as a target: name.attribute with place
  tuple,        // parts
  list,         // parts
  dict,         // parts: key, value, key, value, …
  item,         // parts[0][parts[1]]
  slice,        // parts[0][parts[1]:parts[2]:parts[3]], each of the last three may be null
  call,         // parts[0](arguments)
  filter,       // parts[0] | name(arguments); parts[0] is null in a filter or set block
  test,         // parts[0] is name(arguments)
  negation,     // not parts[0]
  both,         // parts[0] and parts[1]
  either,       // parts[0] or parts[1]
  minus,        // -parts[0]
  plus,         // +parts[0]
  binary,       // parts[0] name parts[1]
  concat,       // parts[0] ~ parts[1] ~ …
  compare,      // parts[0] operators[0] parts[1] operators[1] …
  conditional,  // parts[1] if parts[0] else parts[2] (null: undefined)
};

struct Expr {
  ExprKind kind;
  int line = 0;
  int depth = 1;  // of the tree below, for the bound on recursion
  std::string name;
  Value value;
  std::vector<ExprPtr> parts;
  std::unique_ptr<Arguments> arguments;
  std::vector<std::string> operators;
  const Builtin* builtin = nullptr;  // the filter or test; null: unknown, an error when it runs
  Place place;
  bool is_store = false;
};

// What entering a scope does to one of its variables.
struct Load {
  enum class Action : uint8_t { parameter, resolve, alias, undefined } action;
  int slot;
  std::string name;  // of resolve
  Place source;      // of alias
};
using Loads = std::vector<Load>;

struct Stmt;
using Body = std::vector<std::unique_ptr<Stmt>>;

enum class StmtKind : uint8_t {
  output,      // pieces
  set,         // target = expr
  set_block,   // target = body, through expr (a filter) when given
  loop,        // for target in expr if test: body, else_body
  branch,      // branches (condition and body), else_body
  with,        // targets = values, body
  macro,       // macro
  call_block,  // expr is the call, macro the body
  generation,  // macro is the body: transformers' {% generation %}
  filter,      // expr on body
  stop,        // {% break %}
  skip,        // {% continue %}
};

struct Piece {
  Value text;    // template data; when missing:
  ExprPtr expr;  // {{ expr }}
};

struct Macro {
  std::string name;
  std::vector<ExprPtr> parameters;  // names
  std::vector<ExprPtr> defaults;    // of the last parameters
  Body body;
  // Filled in by the scope pass.
  int slots = 0;  // size of its activation
  Loads loads;
  int caller = -1, kwargs = -1, varargs = -1;  // slots of the special variables that the body uses
  bool explicit_caller = false;
};

struct Activation;

// A macro with the variables around it.
struct MacroObject : Object {
  const Macro* macro = nullptr;
  Activation* outer = nullptr;
};

struct Stmt {
  StmtKind kind;
  int line = 0;
  ExprPtr target, expr, test;
  std::vector<ExprPtr> targets, values;
  std::vector<Piece> pieces;
  std::vector<std::pair<ExprPtr, Body>> branches;
  Body body, else_body;
  std::unique_ptr<Macro> macro;
  // Filled in by the scope pass.
  Loads loads, else_loads;  // of body and else_body
  int loop_slot = -1;       // of the variable `loop`, when the body uses it
  ExprPtr test_target;      // the target again, for the function that runs the test
  Loads test_loads;
  int test_slots = 0;
};

struct Program {
  Body body;
  Loads loads;
  int slots = 0;
};

// Throws LineFailure (jinja_lexer.h).
Program parse(std::string_view source);
void resolve_scopes(Program& program);

}  // namespace cachalot::jinja
