// Any other expression, by PCRE2 10.42. Hugging Face uses Oniguruma; where the two read the same text differently the
// expression is translated or refused. PCRE2's tables know Unicode 14.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/quote.h"
#include "text/pretokenizer/split_pattern.h"
#include "text/unicode.h"

namespace cachalot {
namespace {

struct Free {
  void operator()(pcre2_code* p) const { pcre2_code_free(p); }
  void operator()(pcre2_compile_context* p) const { pcre2_compile_context_free(p); }
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
  void operator()(pcre2_jit_stack* p) const { pcre2_jit_stack_free(p); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

std::string message_of(int code) {
  PCRE2_UCHAR buffer[256];
  return pcre2_get_error_message(code, buffer, sizeof buffer) > 0 ? reinterpret_cast<char*>(buffer) : "unknown error";
}

Error bad_expression(std::string_view expression, std::string_view why) {
  return Error("the pre-tokeniser's expression " + quote(expression) + " cannot be used").because(why);
}

// What the escape \c becomes in PCRE2's spelling, `inside` a set or not.
std::string translated_escape(std::string_view expression, char c, bool inside) {
  // UTS 18, annex C; PCRE2's own \w is another set. Outside of sets Oniguruma counts Latin-1's small numbers in.
  const std::string word = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
  const std::string alone = word + R"(\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE}])";
  switch (c) {
    case 's': return R"(\p{White_Space})";
    case 'S': return R"(\P{White_Space})";
    case 'w': return inside ? word : "[" + alone;
    case 'W':
      if (!inside) return "[^" + alone;
      break;
    case 'h':
    case 'H':
    case 'v':
    case 'V':
    case 'b':
    case 'B': break;
    default: return {'\\', c};
  }
  throw bad_expression(expression, std::string("\\") + c + " means something else in Oniguruma");
}

// Whether the name, as in \p{Han}, is that of a script.
bool is_script(std::string_view name) {
  const std::string probe = fmt::format("\\p{{sc:{}}}", name);
  int code = 0;
  size_t offset = 0;
  return Owned<pcre2_code>(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(probe.data()), probe.size(), PCRE2_UTF, &code,
                                         &offset, nullptr)) != nullptr;
}

// \p{Han} at `at`, \P{Han} or \p{^Han}: a script's name alone means the characters that belong to no other in
// Oniguruma and those that are used with it too in PCRE2. Empty when it is none of these.
std::string translated_script(std::string_view expression, size_t at) {
  const std::string_view rest = expression.substr(at);
  if (!rest.starts_with("\\p{") && !rest.starts_with("\\P{")) return {};
  const size_t end = std::min(rest.find('}'), rest.size());
  std::string_view name = rest.substr(3, end - 3);
  const bool negated = name.starts_with('^');
  if (negated) name.remove_prefix(1);
  if (end == rest.size() || !is_script(name)) return {};
  return fmt::format("{}{{{}sc:{}}}", rest.substr(0, 2), negated ? "^" : "", name);
}

// The expression in PCRE2's spelling. Refuses what cannot be said there: sets inside sets, their intersections.
std::string translated(std::string_view expression) {
  std::string out;
  bool inside = false;
  for (size_t i = 0; i < expression.size(); ++i) {
    const char c = expression[i], next = i + 1 < expression.size() ? expression[i + 1] : 0;
    if (c == '\\' && next == 'u' && i + 6 <= expression.size()) {
      out += "\\x{" + std::string(expression.substr(i + 2, 4)) + "}";
      i += 5;
      continue;
    }
    if (const std::string script = translated_script(expression, i); !script.empty()) {
      out += script;
      i = expression.find('}', i);
      continue;
    }
    if (c == '\\' && next) {
      out += translated_escape(expression, next, inside);
      ++i;
      continue;
    }
    out += c;
    if (!inside && c == '[') {
      inside = true;
      const size_t first = next == '^' ? i + 2 : i + 1;
      if (first < expression.size() && expression[first] == ']') throw bad_expression(expression, "']' opens a set");
    } else if (inside && c == '[') {
      throw bad_expression(expression, "a set inside a set is not supported");
    } else if (inside && c == '&' && next == '&') {
      throw bad_expression(expression, "an intersection of sets is not supported");
    } else if (c == ']') {
      inside = false;
    }
  }
  return out;
}

struct StepCount {
  int64_t left;
  size_t position;
};

// Called before every item of the expression: charges one step and the bytes passed since the last call.
int charge(pcre2_callout_block* block, void* data) {
  auto& steps = *static_cast<StepCount*>(data);
  const size_t now = block->current_position;
  steps.left -= 1 + static_cast<int64_t>(now > steps.position ? now - steps.position : 0);
  steps.position = now;
  return steps.left < 0 ? PCRE2_ERROR_MATCHLIMIT : 0;
}

class Pcre2Pattern : public SplitPattern {
 public:
  explicit Pcre2Pattern(std::string_view expression) : expression_(expression) {
    if (expression.size() > 16384) throw bad_expression(expression, "it is longer than 16 KiB");
    const Owned<pcre2_compile_context> context(pcre2_compile_context_create(nullptr));
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(context.get(), 100);
    // In Oniguruma's syntax ^ and $ always stand at lines. Callouts count the work.
    const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT;
    const std::string text = translated(expression);
    int code = 0;
    size_t offset = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), options, &code, &offset,
                              context.get()));
    if (!code_) throw bad_expression(expression, message_of(code) + ", at byte " + std::to_string(offset));
    uint32_t back_references = 0;
    pcre2_pattern_info(code_.get(), PCRE2_INFO_BACKREFMAX, &back_references);
    if (back_references > 0) throw bad_expression(expression, "back-references are not supported");
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);  // without it the interpreter runs, slower
  }

  void find_all(std::string_view piece, PatternBudget& budget, std::vector<Match>& matches) const override {
    const Owned<pcre2_match_data> data(pcre2_match_data_create(1, nullptr));
    const Owned<pcre2_match_context> context(pcre2_match_context_create(nullptr));
    Owned<pcre2_jit_stack> stack;  // only for the rare expression that outgrows the 32 KiB of the thread's own
    StepCount steps{budget.steps, 0};
    pcre2_set_callout(context.get(), charge, &steps);
    pcre2_set_match_limit(context.get(), 10'000'000);
    pcre2_set_depth_limit(context.get(), 1'000'000);
    pcre2_set_heap_limit(context.get(), 64 << 10);  // KiB

    // An empty match right after a match does not count; the search goes on one character later.
    size_t last_end = std::string_view::npos;
    for (size_t at = 0; at <= piece.size();) {
      const int found = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(piece.data()), piece.size(), at,
                                    PCRE2_NO_UTF_CHECK, data.get(), context.get());
      if (found == PCRE2_ERROR_NOMATCH) break;
      if (found == PCRE2_ERROR_JIT_STACKLIMIT && !stack) {
        stack.reset(pcre2_jit_stack_create(32 << 10, 16 << 20, nullptr));
        pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
        continue;
      }
      if (found < 0) throw runaway(found);
      const size_t* ends = pcre2_get_ovector_pointer(data.get());
      const Match match{ends[0], ends[1]};
      if (match.begin > match.end || match.begin < at) throw runaway(PCRE2_ERROR_INTERNAL);  // \K in a lookaround
      if (match.begin == match.end && match.end == last_end) {
        at += at < piece.size() ? code_point_at(piece, at).bytes : 1;
        continue;
      }
      matches.push_back(match);
      at = last_end = match.end;
    }
    budget.steps = steps.left;
  }

 private:
  Error runaway(int code) const {
    return Error("the pre-tokeniser's expression gave up on this text")
        .because(message_of(code) + " in " + quote(expression_))
        .hint(
            "the expression comes from the checkpoint's tokenizer file; it needs too many steps or too much memory");
  }
  std::string expression_;
  Owned<pcre2_code> code_;
};

class LiteralPattern : public SplitPattern {
 public:
  explicit LiteralPattern(std::string_view text) : text_(text) {}
  void find_all(std::string_view piece, PatternBudget&, std::vector<Match>& matches) const override {
    for (size_t at = piece.find(text_); at != std::string_view::npos; at = piece.find(text_, at + text_.size())) {
      matches.push_back({at, at + text_.size()});
    }
  }

 private:
  std::string text_;
};

}  // namespace

PatternBudget budget_for(size_t text_bytes) { return {1'000'000 + 256 * static_cast<int64_t>(text_bytes)}; }

std::unique_ptr<SplitPattern> literal_pattern(std::string_view text) {
  if (text.empty()) throw Error("the pre-tokeniser splits at an empty string").because("its 'pattern' is empty");
  return std::make_unique<LiteralPattern>(text);
}

std::unique_ptr<SplitPattern> pcre2_pattern(std::string_view expression) {
  return std::make_unique<Pcre2Pattern>(expression);
}

std::unique_ptr<SplitPattern> compile_split_pattern(std::string_view expression) {
  if (auto pattern = known_pattern(expression)) return pattern;
  if (auto pattern = class_pattern(expression)) return pattern;
  return pcre2_pattern(expression);
}

}  // namespace cachalot
