// What was said is told apart from what the template wrote through everything that makes text of text. The oracle is
// the alphabet: people say Greek letters, templates write Latin ones, and no operation turns one into the other.
#include "jinja/provenance.h"

#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "jinja/template.h"

namespace cachalot {
namespace {

using Json = nlohmann::ordered_json;

Attribution all_said(const Json& json) {
  Attribution said;
  const auto walk = [&](const auto& self, const Json& value) -> void {
    if (value.is_string()) {
      const auto& text = value.get_ref<const std::string&>();
      said[&text] = Provenance::all_said(text.size());
    } else if (value.is_array()) {
      for (const Json& item : value) self(self, item);
    } else if (value.is_object()) {
      for (const auto& [key, item] : value.get_ref<const Json::object_t&>()) {
        said[&key] = Provenance::all_said(key.size());
        self(self, item);
      }
    }
  };
  walk(walk, json);
  return said;
}

bool is_greek(std::string_view text, size_t at) {  // α … ω, Α … Ω: two bytes, 0xce or 0xcf first
  return (static_cast<unsigned char>(text[at]) & 0xfe) == 0xce;
}
bool is_latin(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

void expect_letters_told_apart(const AttributedText& out, bool exactly = true) {
  int greek = 0;
  for (size_t at = 0; at < out.text.size(); ++at) {
    const bool said = out.provenance.said(at, at + 1);
    if (is_greek(out.text, at)) {
      ++greek;
      EXPECT_TRUE(said) << "byte " << at << " of " << out.text;
    } else if (is_latin(out.text[at]) && exactly && (at == 0 || out.text[at - 1] != '\\')) {  // not of an escape: \n
      EXPECT_FALSE(said) << "byte " << at << " of " << out.text;
    }
  }
  EXPECT_GT(greek, 0) << out.text;
}

const Json& variables() {
  static const Json v = {{"a", "αβ Γδ"},
                         {"σ", "ΑΣ"},
                         {"l", {"ω", "ψχ", "Ωα"}},
                         {"d", {{"κ", "λ"}, {"ν", {"ξ", {{"ο", "π"}}}}}},
                         {"m", "α\nβ\r\n\n γ\tδ\n"},
                         {"z", "α'β\"γ δ"},
                         {"q", "α'β\"γ\\\n"}};
  return v;
}

AttributedText render(const std::string& source) {
  return jinja::Template(source).render(variables(), all_said(variables()));
}

// Every filter and method that makes text of text, on what was said, what was written, and both in one.
TEST(Provenance, EveryOperationCarriesIt) {
  const std::string mixed = "{% set t = 'Xy ' ~ a ~ ' zW' ~ m ~ 'end' %}";
  for (const char* expression : {"a",
                                 "t",
                                 "a + 'x'",
                                 "'x' + a",
                                 "a * 3",
                                 "t * 2",
                                 "'x' ~ a ~ 1",
                                 "t[2:9]",
                                 "t[::-1]",
                                 "t[::2]",
                                 "a[1]",
                                 "t[-9:]",
                                 "t|upper",
                                 "t|lower",
                                 "t|title",
                                 "t|capitalize",
                                 "t.upper()",
                                 "t.lower()",
                                 "t.title()",
                                 "t.capitalize()",
                                 "t.swapcase()",
                                 "(σ ~ 'x')|lower",
                                 "t|center(99)",
                                 "t.center(99, 'x')",
                                 "t.ljust(99, 'x')",
                                 "t.rjust(99, 'x')",
                                 "a.zfill(9)",
                                 "t|e",
                                 "t|forceescape",
                                 "t|safe",
                                 "(t|safe) ~ a",
                                 "(a|e) + t",
                                 "t|string",
                                 "t|indent('xx', true, true)",
                                 "'x\ny'|indent(a)",
                                 "t|replace('y', a)",
                                 "t|replace(a, 'q') ~ a",
                                 "t.replace('', 'i')",
                                 "t.replace(' ', 'nn')",
                                 "'xax'.replace('a', a)",
                                 "t|trim",
                                 "t.strip('X')",
                                 "t.lstrip()",
                                 "t.rstrip('d')",
                                 "t.removeprefix('X')",
                                 "t.removesuffix('d')",
                                 "t|truncate(12)",
                                 "t|truncate(12, true, 'xx')",
                                 "t|truncate(9, true, a)",
                                 "t.split()",
                                 "t.split(' ', 1)|join('x')",
                                 "t.rsplit()|join('x')",
                                 "t.rsplit(' ', 2)",
                                 "t.splitlines()",
                                 "t.splitlines(true)|join",
                                 "t.partition('y')",
                                 "t.rpartition(' ')",
                                 "t.partition(a)",
                                 "a.join(['x', 'y'])",
                                 "'x'.join(l)",
                                 "l|join('x')",
                                 "l|join(a)",
                                 "['x', 'y']|join(a)",
                                 "l",
                                 "d",
                                 "(a, 'x')",
                                 "{'x': a}",
                                 "d.items()",
                                 "d.keys()",
                                 "d.values()",
                                 "q ~ [q]",
                                 "namespace(x=a)",
                                 "l|tojson",
                                 "d|tojson(indent=2)",
                                 "t|tojson",
                                 "[q, 'x']|tojson",
                                 "d|tojson(sort_keys=true)",
                                 "[1, 2]|tojson(indent=a)",
                                 "[1, a]|tojson(separators=('x', 'y'))",
                                 "t.expandtabs()",
                                 "'%s x %s' % (a, 'y')",
                                 "'%20s|%-9.3s' % (a, t)",
                                 "'%r' % q",
                                 "'%(x)s' % {'x': a}",
                                 "'{} x {:>9}'.format(a, t)",
                                 "'{0!r}'.format(q)",
                                 "'{x[κ]}'.format(x=d)",
                                 "'{:{w}}'.format(a, w=9)",
                                 "'x%s'|format(a)",
                                 "l|first",
                                 "l|last",
                                 "a|first",
                                 "a|list",
                                 "t|list|join",
                                 "t|reverse",
                                 "l|sort|join('x')",
                                 "l|unique|join",
                                 "l|map('upper')|join('x')",
                                 "l|max",
                                 "l|min",
                                 "d|items|list",
                                 "d|dictsort",
                                 "l|batch(2, 'x')|list",
                                 "l|slice(2, 'x')|list",
                                 "l|groupby(0)|list",
                                 "missing|default(a)",
                                 "''|default(a, true)",
                                 "a if true",
                                 "missing or a",
                                 "dict(**d)",
                                 "dict(l|map('list'))if false else a",
                                 "cycler(a, 'x').next()",
                                 "joiner(a) ~ a",
                                 "d.get('κ')",
                                 "d['κ']",
                                 "{}.fromkeys(l, 'x')",
                                 "l|select|list",
                                 "[l, l]|sum(start=[])",
                                 "'%c' % a[0]"}) {
    SCOPED_TRACE(expression);
    expect_letters_told_apart(render(mixed + "{{ " + expression + " }}"));
  }
}

TEST(Provenance, EveryStatementCarriesIt) {
  for (const char* source :
       {"x{{ a }}y", "{% for c in a %}x{{ c }}{% endfor %}",
        "{% for c in l %}{{ loop.cycle('x', a) }}{{ loop.previtem }}{{ c }}{% endfor %}",
        "{% for k, v in d.items() %}x{{ k }}={{ v }}{% endfor %}", "{% for k in d %}x{{ k }}{% endfor %}",
        "{% set x %}x{{ a }}y{% endset %}{{ x }}", "{% set x | upper %}x{{ a }}y{% endset %}{{ x }}",
        "{% filter upper %}x{{ a }}y{% endfilter %}",
        "{% macro f(x, y='z') %}{{ x }}n{{ y }}{% endmacro %}{{ f(a) }}{{ f('x', a) }}",
        "{% macro f() %}{{ kwargs }}{{ varargs }}{% endmacro %}{{ f('x', a, **d) }}",
        "{% macro f() %}x{{ caller(a) }}{% endmacro %}{% call(c) f() %}y{{ c }}{% endcall %}",
        "{% generation %}x{{ a }}{% endgeneration %}", "{% with x = a %}y{{ x }}{% endwith %}", "{% print 'x', a %}",
        "{% set ns = namespace(s='') %}{% for x in l %}{% set ns.s = ns.s ~ x ~ 'x' %}{% endfor %}{{ ns.s }}{{ ns }}",
        "{% set x, y = [a, 'y'] %}{{ x }}{{ y }}"}) {
    SCOPED_TRACE(source);
    expect_letters_told_apart(render(source));
  }
}

// What a format makes is said when anything of the format, or of the fill that it asks for, was.
TEST(Provenance, AFormatThatWasSaidSaysAllOfItsResult) {
  for (const char* expression :
       {"(a ~ '%s') % 'x'", "(a ~ '{}').format('x')", "'{:{f}>9}'.format('x', f=a[0]) ~ a"}) {
    SCOPED_TRACE(expression);
    expect_letters_told_apart(render(std::string("{{ ") + expression + " }}"), /*exactly=*/false);
  }
}

TEST(Provenance, WithItEveryConstructRendersAsInPython) {
  std::ifstream file(CACHALOT_SOURCE_DIR "/tests/goldens/templates/constructs.json");
  const Json golden = Json::parse(file);
  const Attribution said = all_said(golden["variables"]);
  for (const Json& c : golden["cases"]) {
    const auto source = c["template"].get<std::string>();
    SCOPED_TRACE(source);
    if (c.contains("output")) {
      EXPECT_NO_THROW(
          EXPECT_EQ(jinja::Template(source).render(golden["variables"], said).text, c["output"].get<std::string>()));
    } else {
      EXPECT_THROW(jinja::Template(source).render(golden["variables"], said), Error);
    }
  }
}

// A chain of operations on two texts of both alphabets. $ and # stand for operands.
std::string random_template(std::mt19937& random) {
  const auto one_of = [&](std::initializer_list<const char*> choices) {
    return std::string(*(choices.begin() + random() % choices.size()));
  };
  std::string source = "{% set t = a ~ 'Xy' ~ z %}{% set w = 'Ab c\\n' %}";
  for (int step = 0; step < 6; ++step) {
    const std::string first = one_of({"t", "w"}), second = one_of({"t", "w", "a", "σ", "z", "l|join('k')"});
    const std::string pattern = one_of({"$|upper",
                                        "$|lower",
                                        "$|title",
                                        "$[1:]",
                                        "$[::-1]",
                                        "$ ~ #",
                                        "# ~ 'z' ~ $",
                                        "$|replace(' ', #)",
                                        "$|tojson",
                                        "[$, #]|string",
                                        "'%s-%9s' % ($, #)",
                                        "$|indent(1)",
                                        "$|trim",
                                        "(# ~ $).split()|join('jj')",
                                        "$.splitlines()|join(#)",
                                        "'{}{!r}'.format($, #)",
                                        "{'x': #, #: $}|tojson(indent=1)",
                                        "$|center(30)",
                                        "$|capitalize",
                                        "#.partition('y')|join($)",
                                        "$|truncate(40, true, 'tt')",
                                        "$.swapcase()",
                                        "$.strip() ~ #",
                                        "#|list|join('v')"});
    source += "{% set " + first + " = (";
    for (const char c : pattern) source += c == '$' ? first : c == '#' ? "(" + second + ")" : std::string(1, c);
    source += ")[:3000] %}";
  }
  return source + "{{ w }}|{{ t }}{{ a }}";
}

TEST(Provenance, RandomTemplatesRenderTheSameTextAndTellTheLettersApart) {
  std::mt19937 random(20261);
  for (int i = 0; i < 2000 && !HasFailure(); ++i) {
    const std::string source = random_template(random);
    SCOPED_TRACE(source);
    const AttributedText out = render(source);
    EXPECT_EQ(out.text, jinja::Template(source).render(variables()));
    expect_letters_told_apart(out);
  }
}
// A text whose voice changes with every letter takes memory for that; the limits see it.
TEST(Provenance, CountsInTheLimits) {
  jinja::Limits limits;
  limits.text_bytes = 1000;
  const Json words = {{"a", "α"}};
  const jinja::Template alternating("{% for i in range(90) %}{{ a }}x{% endfor %}");
  EXPECT_EQ(alternating.render(words, limits).size(), 270u);
  EXPECT_EQ(alternating.render(words, all_said(words), limits).provenance.spans().size(), 90u);
  const jinja::Template longer("{% for i in range(100) %}{{ a }}x{% endfor %}");
  EXPECT_EQ(longer.render(words, limits).size(), 300u);
  EXPECT_THROW(longer.render(words, all_said(words), limits), Error);
  EXPECT_THROW(jinja::Template("{{ (a ~ 'x') * 100 }}").render(words, all_said(words), limits), Error);
  limits.bytes = 4000;
  limits.text_bytes = 100000;
  EXPECT_NO_THROW(jinja::Template("{{ (a ~ 'x') * 300 }}").render(words, limits));
  EXPECT_THROW(jinja::Template("{{ (a ~ 'x') * 300 }}").render(words, all_said(words), limits), Error);
}

}  // namespace
}  // namespace cachalot
