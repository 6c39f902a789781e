// The statement half of the parser (jinja_parser.h).
#include <fmt/format.h>

#include <algorithm>

#include "jinja/parser.h"
#include "jinja/text.h"

namespace cachalot::jinja {
namespace {

// Sets a variable for the life of the object.
template <typename T>
class Within {
 public:
  Within(T& variable, T value) : variable_(variable), old_(variable) { variable_ = value; }
  ~Within() { variable_ = old_; }

 private:
  T& variable_;
  T old_;
};

Value text_constant(std::string text) {
  auto object = std::make_shared<Text>();
  object->length = count_letters(text);
  object->text = std::move(text);
  return Value(Kind::string, std::move(object));
}

}  // namespace

Program parse(std::string_view source) {
  Program program;
  program.body = Parser(tokenize(source)).parse_template();
  resolve_scopes(program);
  return program;
}

Body Parser::parse_template() {
  Body body = parse_body({});
  if (!unknown_.empty()) throw unknown_.front();
  return body;
}

// Statements and text up to one of the tags `ends`, whose name is then the current token.
Body Parser::parse_body(std::initializer_list<std::string_view> ends) {
  const Nesting nesting(*this);
  Body body;
  std::unique_ptr<Stmt> output;
  const auto add_piece = [&](Piece piece) {
    if (!output) {
      output = std::make_unique<Stmt>();
      output->kind = StmtKind::output;
      output->line = now().line;
    }
    output->pieces.push_back(std::move(piece));
  };
  while (now().kind != TokenKind::end) {
    if (now().kind == TokenKind::data) {
      add_piece({text_constant(take().text), nullptr});
    } else if (now().kind == TokenKind::variable_begin) {
      take();
      ExprPtr expr = parse_tuple();
      add_piece({Value::missing(), std::move(expr)});
      expect(TokenKind::variable_end);
    } else {
      if (output) body.push_back(std::move(output));
      take();
      for (const std::string_view end : ends) {
        if (now().names(end)) return body;
      }
      body.push_back(parse_statement());
      expect(TokenKind::block_end);
    }
  }
  if (output) body.push_back(std::move(output));
  return body;
}

Body Parser::parse_block(std::initializer_list<std::string_view> ends, bool drop_end) {
  skip(":");
  expect(TokenKind::block_end);
  const int line = now().line;
  Body body = parse_body(ends);
  if (now().kind == TokenKind::end) {
    fail(fmt::format("Unexpected end of template: a block that begins here needs '{}'.", *(ends.end() - 1)), line);
  }
  if (drop_end) take();
  return body;
}

Body Parser::parse_scope(std::initializer_list<std::string_view> ends, bool drop_end) {
  const Within hard(soft_, false);
  return parse_block(ends, drop_end);
}

std::unique_ptr<Stmt> Parser::parse_statement() {
  using Method = std::unique_ptr<Stmt> (Parser::*)(std::unique_ptr<Stmt>);
  static constexpr std::pair<std::string_view, Method> kTags[] = {
      {"set", &Parser::parse_set},
      {"for", &Parser::parse_for},
      {"if", &Parser::parse_if},
      {"with", &Parser::parse_with},
      {"macro", &Parser::parse_macro},
      {"call", &Parser::parse_call_block},
      {"print", &Parser::parse_print},
      {"filter", &Parser::parse_filter_block},
      {"break", &Parser::parse_jump},
      {"continue", &Parser::parse_jump},
      {"generation", &Parser::parse_generation},
  };
  if (now().kind != TokenKind::name) fail("tag name expected");
  for (const auto& [name, method] : kTags) {
    if (!now().names(name)) continue;
    auto stmt = std::make_unique<Stmt>();
    stmt->line = now().line;
    return (this->*method)(std::move(stmt));
  }
  for (const std::string_view known : {"block", "extends", "include", "import", "from", "autoescape"}) {
    if (now().names(known)) fail(fmt::format("the tag '{}' is not supported in chat templates", known));
  }
  fail(fmt::format("Encountered unknown tag '{}'.", now().text));
}

void Parser::make_target(Expr& expr) {
  if (expr.kind == ExprKind::tuple) {
    for (const ExprPtr& part : expr.parts) make_target(*part);
  } else if (expr.kind == ExprKind::name) {
    expr.is_store = true;
    if (expr.name == "loop" && loop_tags_)
      fail("Can't assign to special loop variable in for-loop target", expr.line);
  } else if (expr.kind != ExprKind::attribute || !expr.is_store) {
    fail("can't assign to this expression", expr.line);
  }
}

ExprPtr Parser::parse_target(std::string_view end_word, bool with_namespace) {
  ExprPtr target = parse_tuple(true, true, end_word, false, with_namespace);
  make_target(*target);
  return target;
}

ExprPtr Parser::parse_target_name() {
  const Token token = expect(TokenKind::name);
  for (const std::string_view word : {"true", "false", "none", "True", "False", "None"}) {
    if (token.text == word) fail("can't assign to 'name'", token.line);
  }
  ExprPtr name = make(ExprKind::name, token.line, token.text);
  name->is_store = true;
  return name;
}

std::unique_ptr<Stmt> Parser::parse_set(std::unique_ptr<Stmt> stmt) {
  take();
  stmt->kind = StmtKind::set;
  stmt->target = parse_target("", true);
  if (skip("=")) {
    stmt->expr = parse_tuple();
    return stmt;
  }
  stmt->kind = StmtKind::set_block;
  const Within hard(soft_, false);
  stmt->expr = parse_filter(nullptr, false);
  stmt->body = parse_block({"endset"}, true);
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_for(std::unique_ptr<Stmt> stmt) {
  take();
  const Within tags(loop_tags_, loop_tags_ + 1);
  stmt->kind = StmtKind::loop;
  stmt->target = parse_target("in", false);
  expect_word("in");
  stmt->expr = parse_tuple(false, false, "recursive", false, false);
  if (skip_word("if")) {
    const Within hard(soft_, false);
    stmt->test = parse_expression();
  }
  if (now().names("recursive")) fail("recursive loops are not supported");
  {
    const Within loops(loops_, loops_ + 1);
    stmt->body = parse_scope({"else", "endfor"}, false);
  }
  if (take().text == "else") stmt->else_body = parse_scope({"endfor"}, true);
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_if(std::unique_ptr<Stmt> stmt) {
  stmt->kind = StmtKind::branch;
  const Within soft(soft_, true);
  while (true) {
    take();
    ExprPtr condition = parse_tuple(false, false, "", false, false);
    Body body = parse_block({"elif", "else", "endif"}, false);
    stmt->branches.emplace_back(std::move(condition), std::move(body));
    if (now().names("elif")) continue;
    if (take().text == "else") stmt->else_body = parse_block({"endif"}, true);
    return stmt;
  }
}

std::unique_ptr<Stmt> Parser::parse_with(std::unique_ptr<Stmt> stmt) {
  take();
  stmt->kind = StmtKind::with;
  while (now().kind != TokenKind::block_end) {
    if (!stmt->targets.empty()) expect(",");
    const Within tags(loop_tags_, 0);
    stmt->targets.push_back(parse_target("", false));
    expect("=");
    stmt->values.push_back(parse_expression());
  }
  stmt->body = parse_scope({"endwith"}, true);
  return stmt;
}

void Parser::parse_signature(Macro& macro) {
  expect("(");
  while (!now().is(")")) {
    if (!macro.parameters.empty()) expect(",");
    ExprPtr parameter = parse_target_name();
    for (const ExprPtr& other : macro.parameters) {
      if (other->name == parameter->name) fail(fmt::format("duplicate argument '{}'", other->name));
    }
    if (skip("=")) {
      macro.defaults.push_back(parse_expression());
    } else if (!macro.defaults.empty()) {
      fail("non-default argument follows default argument");
    }
    macro.parameters.push_back(std::move(parameter));
  }
  expect(")");
}

void Parser::parse_macro_body(Macro& macro, std::string_view end) {
  const Within loops(loops_, 0);
  macro.body = parse_scope({end}, true);
}

std::unique_ptr<Stmt> Parser::parse_macro(std::unique_ptr<Stmt> stmt) {
  take();
  stmt->kind = StmtKind::macro;
  stmt->macro = std::make_unique<Macro>();
  stmt->target = parse_target_name();
  stmt->macro->name = stmt->target->name;
  const Within hard(soft_, false);
  parse_signature(*stmt->macro);
  parse_macro_body(*stmt->macro, "endmacro");
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_call_block(std::unique_ptr<Stmt> stmt) {
  take();
  stmt->kind = StmtKind::call_block;
  stmt->macro = std::make_unique<Macro>();
  if (now().is("(")) parse_signature(*stmt->macro);
  stmt->expr = parse_expression();
  if (stmt->expr->kind != ExprKind::call) fail("expected call", stmt->line);
  parse_macro_body(*stmt->macro, "endcall");
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_generation(std::unique_ptr<Stmt> stmt) {
  take();
  stmt->kind = StmtKind::generation;
  stmt->macro = std::make_unique<Macro>();
  parse_macro_body(*stmt->macro, "endgeneration");
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_filter_block(std::unique_ptr<Stmt> stmt) {
  take();
  stmt->kind = StmtKind::filter;
  const Within hard(soft_, false);
  stmt->expr = parse_filter(nullptr, true);
  stmt->body = parse_block({"endfilter"}, true);
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_print(std::unique_ptr<Stmt> stmt) {
  take();
  stmt->kind = StmtKind::output;
  while (now().kind != TokenKind::block_end) {
    if (!stmt->pieces.empty()) expect(",");
    stmt->pieces.push_back({Value::missing(), parse_expression()});
  }
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_jump(std::unique_ptr<Stmt> stmt) {
  const Token tag = take();
  stmt->kind = tag.text == "break" ? StmtKind::stop : StmtKind::skip;
  if (loops_ == 0) fail(fmt::format("'{}' outside loop", tag.text), tag.line);
  return stmt;
}

}  // namespace cachalot::jinja
