"""The constructs of the template language, each as one small template. All are rendered with VARIABLES."""

VARIABLES = {
    "n": 5, "neg": -7, "f": 2.5, "big": 9007199254740993, "t": True, "no": False, "nil": None,
    "s": "Hello World", "e": "", "u": "héllo 你好 😀 ß", "sp": "  \t pad ded\n\n", "html": "<b>&\"'",
    "lines": "one\n two\n\nthree\r\nfour", "csv": "a,b,,c", "quote": "it's", "both": "it's \"x\"",
    "l": [3, 1, 2], "el": [], "ll": [[1, 2], [3, 4]], "mix": [1, "1", 1.0, True, None, [1], {"a": 1}],
    "d": {"b": 1, "a": [1, {"c": None}], "items": "key", "x-y": 2, "ünï": "ö"}, "ed": {},
    "words": ["apple", "Banana", "cherry", "apple", "BANANA"],
    "users": [{"name": "Ann", "age": 31, "on": True, "a": {"b": 1}}, {"name": "bob", "age": 25, "on": False},
              {"name": "Cy", "age": 31, "on": True, "a": {"b": 2}}],
    "tool": {"type": "function", "function": {"name": "größe", "description": "Gibt die Größe — 尺寸 — zurück",
             "parameters": {"type": "object", "properties": {"x": {"type": "number", "default": 1e-7},
                            "y": {"enum": ["a", "b\n", "\u0001\"\\/"]}}, "required": []}}},
}

OUTPUT = r"""
plain text
{{ 'a' }}{{ "b" }}
{{ n }} {{ f }} {{ t }} {{ no }} {{ nil }} {{ missing }}|
{{ l }} {{ d }} {{ ll }} {{ mix }} {{ ed }} {{ el }}
{{ [s, quote, both, u, html] }}
{{ ['\x00\x7f\xa0\u200b\ue000\U0001F600', 'tab\t'] }}
{{ (1,) }} {{ (1, 2) }} {{ () }} {{ ((1, 2), [3]) }}
{{ 1, 2 }}
{{ {'a': 1, 2: 'b', none: true, 1.5: (1,)} }}
{{ {1: 'a', 1.0: 'b', true: 'c'} }}
{{ 1e3 }} {{ 1e16 }} {{ 1e15 }} {{ 123456789012345680.0 }} {{ 1e-4 }} {{ 1e-5 }} {{ 0.1 + 0.2 }} {{ 1.0 }} {{ -0.0 }} {{ 5e-324 }} {{ 1.7976931348623157e308 }}
{{ 1e308 * 10 }} {{ -1e308 * 10 }} {{ 1e308 * 10 - 1e308 * 10 }}
{{ 1_000 }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1_0.5_0 }} {{ 00 }}
{{ 'a' 'b' "c" }}
{{ 'a\nb\t\\ \' \" \x41 \u00e9 \U0001F600 \101 \q' }}
{{ "a\
b" }}
{{ true }} {{ True }} {{ false }} {{ False }} {{ none }} {{ None }}
{{ (1 if n > 3 else 2) }} {{ 'x' if no }}| {{ 'a' if no else 'b' if t else 'c' }}
{{ missing is undefined }} {{ ('x' if no) is undefined }}
{{ range(5) }} {{ range(1, 10, 3) }} {{ range(5)|list }} {{ range(10, 0, -3)|list }} {{ range(10)[2:8:2] }} {{ range(5)[1] }} {{ range(0) }}
{% print n, s %}
{% print 'x' ~ n %}
"""

OPERATORS = r"""
{{ 1 + 2 * 3 - 4 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7 / 2 }} {{ 6 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }}
{{ 7.5 // 2 }} {{ -7.5 // 2 }} {{ 7.5 % 2 }} {{ -7.5 % 2 }} {{ 7.5 % -2 }} {{ 0.0 % -3 }} {{ 2.0 ** 0.5 }}
{{ true + true }} {{ true * 3 }} {{ 1 + 1.5 }} {{ -n }} {{ +n }} {{ - -n }} {{ -f }} {{ -true }}
{{ 'a' + 'b' }} {{ 'ab' * 3 }} {{ 3 * 'ab' }} {{ 'x' * -1 }}| {{ [1] + [2] }} {{ [0] * 3 }} {{ (1,) + (2,) }} {{ (1, 2) * 2 }}
{{ 'a' ~ 1 ~ none ~ 2.5 ~ [1] ~ missing }}
{{ 1 < 2 }} {{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 3 > 2 >= 2 }} {{ 1 == 1.0 == true }} {{ 'a' < 'b' }} {{ 'Z' < 'a' }} {{ 'é' > 'z' }} {{ [1, 2] < [1, 3] }} {{ [1] < [1, 0] }} {{ (1, 'a') <= (1, 'b') }}
{{ 1 == '1' }} {{ 1 != 2 }} {{ none == none }} {{ none == false }} {{ [] == [] }} {{ [1] == (1,) }} {{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }} {{ missing == other }} {{ missing == none }} {{ 'a' == 'a' }} {{ 1 == true }} {{ 0 == false }}
{{ 1 in l }} {{ 9 in l }} {{ 9 not in l }} {{ 'ell' in s }} {{ '' in s }} {{ 'b' in d }} {{ 'z' not in d }} {{ 1.0 in l }} {{ true in l }} {{ 3 in range(5) }} {{ 'x' in missing }} {{ none in mix }} {{ [1] in mix }}
{{ not t }} {{ not not t }} {{ not n == 5 }} {{ t and no }} {{ t or no }} {{ n and s }} {{ e or 'default' }} {{ e and 'x' }}| {{ nil or 0 }} {{ [] or {} or 'last' }} {{ not missing }}
{{ no and missing.foo }} {{ t or missing.foo }}
{{ (n > 3) and (s == 'Hello World') }} {{ n > 3 and not no or no }}
{{ 1 if [] else 2 }} {{ 1 if [0] else 2 }} {{ 1 if 0.0 else 2 }} {{ 1 if '' else 2 }} {{ 1 if ed else 2 }} {{ 1 if range(0) else 2 }} {{ 1 if (0,) else 2 }} {{ 1 if nil else 2 }} {{ 1 if d.items() else 2 }}
{{ 10 // 3 * 3 + 10 % 3 }} {{ 2 * -3 }} {{ 2 - -3 }} {{ 2--3 }} {{ n-1 }} {{ n -1 }}
{{ 1.5e3|int + 1 }} {{ '1'|int + 1 }} {{ -1|abs }} {{ (-1)|abs }} {{ 2 * 3|string }}
{{ s|length > 3 }} {{ l|length - 1 }} {{ not l|length }} {{ 1 + l|length * 2 }}
{{ 'a' ~ 'b' == 'ab' }} {{ 'a' + 'b' ~ 1 }} {{ 1 ~ 2 + 3 }}
{{ 9007199254740993 == 9007199254740992.0 }} {{ big }} {{ big + 1 }} {{ big * 1.0 }} {{ big / 1 }}
{{ 5 is odd and 4 is even }} {{ 1 < n < 10 and n != 6 }} {{ 3 in [1, 2, 3] == true }}
"""

ACCESS = r"""
{{ d.b }} {{ d['b'] }} {{ d.a[1].c }} {{ d.a.1 }} {{ d['x-y'] }} {{ d.ünï }} {{ d['nope'] }}| {{ d.nope }}| {{ d.nope is defined }}
{{ d.items is callable }} {{ d['items'] }} {{ d.items() }} {{ d.keys() }} {{ d.values() }}
{{ d.keys()|list }} {{ d.values()|list|length }} {{ d.items()|list|first }}
{{ d.get('b') }} {{ d.get('z') }} {{ d.get('z', 7) }} {{ d.get('a', 1)[0] }} {{ d.get(['x'][0] ~ '-y') }}
{{ d.copy() == d }} {{ l.copy() }} {{ l.count(1) }} {{ l.index(2) }} {{ (1, 2, 1).count(1) }} {{ (1, 2).index(2) }} {{ {}.fromkeys(['a', 'b'], 0) }}
{{ l[0] }} {{ l[-1] }} {{ l[9] }}| {{ l.0 }} {{ l['0'] }}| {{ l[true] }} {{ l[1.0] }}| {{ l[nil] }}|
{{ l[1:] }} {{ l[:1] }} {{ l[::-1] }} {{ l[-2:] }} {{ l[5:] }} {{ l[:-1] }} {{ l[::2] }} {{ l[2:0:-1] }} {{ l[:] }} {{ l[none:2] }} {{ (1, 2, 3)[1:] }} {{ l[-100:100] }} {{ l[100:-100:-1] }}
{{ s[0] }} {{ s[-1] }} {{ s[99] }}| {{ s[2:5] }} {{ s[::-1] }} {{ s[::3] }} {{ u[1] }} {{ u[-1] }} {{ u[6:8] }} {{ u[::-1] }} {{ u[::2] }} {{ u|length }} {{ s['0'] }}|
{{ s.missing }}| {{ n.missing }}| {{ nil.missing }}| {{ l.missing is defined }} {{ nil['x'] is defined }}
{{ s.append is defined }} {{ l.append is defined }} {{ l.append is undefined }} {{ d.pop is defined }} {{ d.update is defined }} {{ l.sort is defined }} {{ d.__class__ is defined }} {{ s.__len__ is defined }} {{ s['__class__'] is defined }}
{{ s.upper is defined }} {{ s.nope is defined }} {{ 'upper' in s }} {{ s['upper']() }}
{{ users[0].name }} {{ users[0]['name'] }} {{ users[-1].a.b }} {{ users[1].a }}| {{ users[1].a is defined }} {{ users[0:2]|length }}
{{ (users|first).name }} {{ users|map(attribute='name')|list }} {{ {'a': {'b': 1}}.a.b }} {{ [1, 2][0] }} {{ 'abc'[1] }} {{ (1, 2)[1] }}
{{ d[[1]] }}| {{ d[missing] }}| {{ [1][0:1][0] }} {{ {1: 'int'}[1] }} {{ {1: 'int'}[1.0] }} {{ {'1': 'str'}[1] }}| {{ {(1, 2): 'tuple'}[(1, 2)] }} {{ {(1, 2): 't'}[1, 2] }}
{{ range(3).start }} {{ range(1, 9, 2).step }} {{ range(1, 9, 2).stop }} {{ range(9)[-1] }} {{ range(9)[99] }}| {{ range(9).index(4) }} {{ range(9).count(4) }}
"""

STATEMENTS = r"""
{% if t %}yes{% endif %}{% if no %}yes{% else %}no{% endif %}{% if no %}1{% elif n == 5 %}2{% elif t %}3{% else %}4{% endif %}
{% if missing %}a{% elif nil %}b{% elif e %}c{% elif el %}d{% else %}e{% endif %}
{% if 1, 0 %}tuple is true{% endif %}
{% for x in l %}{{ x }},{% endfor %}|{% for x in el %}{{ x }}{% else %}empty{% endfor %}|{% for x in missing %}{{ x }}{% else %}none{% endfor %}
{% for c in 'aé😀' %}[{{ c }}]{% endfor %}
{% for k in d %}{{ k }} {% endfor %}{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k, v in d|items %}{{ k }} {% endfor %}
{% for a, b in ll %}{{ a }}-{{ b }} {% endfor %}{% for (a, b) in ll %}{{ a + b }} {% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for x in l %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.revindex }}/{{ loop.revindex0 }}/{{ loop.first }}/{{ loop.last }}/{{ loop.length }}/{{ loop.depth }}/{{ loop.depth0 }} {% endfor %}
{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}
{% for x in l %}{{ loop.previtem is defined }}{{ loop.nextitem is undefined }} {% endfor %}
{% for x in [1, 1, 2, 2, 1] %}{% if loop.changed(x) %}{{ x }}{% endif %}{% endfor %}
{% for x in [1, 1, 2] %}{{ loop.changed(x, 'y') }}{{ loop.changed(x) }} {% endfor %}
{% for x in range(5) %}{{ loop.cycle('odd', 'even') }} {% endfor %}
{% for x in l if x > 1 %}{{ x }}:{{ loop.index }}/{{ loop.length }}{{ loop.last }} {% endfor %}
{% for x in l if x > 9 %}{{ x }}{% else %}nothing{% endfor %}
{% for u in users if u.on %}{{ u.name }}{% if not loop.last %}, {% endif %}{% endfor %}
{% for x in l %}{% for y in l %}{{ loop.index }}{% endfor %}-{{ loop.index }} {% endfor %}
{% for x in l %}{% set outer = loop %}{% for y in 'ab' %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}
{% for x in range(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% for x in range(3) %}{% break %}{% else %}else after break{% endfor %}|{% for x in range(3) %}{% continue %}{% else %}else after continue{% endfor %}|{% for x in range(3) %}{{ x }}{% if x == 1 %}{% break %}{% endif %}{% else %}no{% endfor %}
{% for x in range(3) %}{% for y in range(3) %}{% if y == 1 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{% endfor %}
{% for x in range(3) %}{{ x }}{% if x == 1 %}{% break %}{% endif %}{% endfor %}{{ x }}|
{% for x in l %}{{ loop }}{% endfor %}
{% for x in l|sort %}{{ x }}{% endfor %}{% for x in l|reverse %}{{ x }}{% endfor %}{% for x in l[::-1] %}{{ x }}{% endfor %}{% for x in (1, 2) %}{{ x }}{% endfor %}{% for x in 1, 2, 3 %}{{ x }}{% endfor %}
{% for x in l|map('string') %}{{ x }}{{ loop.length }}{{ loop.last }}{% endfor %}
{% for x in l|select('odd') %}{{ loop.revindex }}{{ loop.nextitem }}{% endfor %}
{% set x = 1 %}{{ x }}{% set x = x + 1 %}{{ x }}{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (a, b) = [b, a] %}{{ a }}{{ b }}{% set t3 = 1, 2, 3 %}{{ t3 }}{% set one = 1, %}{{ one }}
{% set x %}block {{ n }}{% endset %}[{{ x }}]{% set x | upper %}shout{% endset %}{{ x }}{% set x | replace('a', 'b') | upper %}banana{% endset %}{{ x }}
{% set x = 0 %}{% for i in l %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}
{% set x = 0 %}{% if t %}{% set x = 5 %}{% endif %}{{ x }}{% if t %}{% set y = 6 %}{% endif %}{{ y }}{% if no %}{% set z = 7 %}{% endif %}{{ z }}|
{% for i in l %}{% if loop.first %}{% set seen = i %}{% endif %}{{ seen }}|{% endfor %}
{% set n = n + 1 %}{{ n }}{% for i in [1] %}{{ n }}{% set n = 0 %}{{ n }}{% endfor %}{{ n }}
{% for i in [1] %}{{ s }}|{% endfor %}{% set s = 'later' %}{{ s }}
{% macro m() %}{{ s }}|{% endmacro %}{{ m() }}{% set s = 'later' %}{{ m() }}
{% if no %}{% set s = 'x' %}{% endif %}{{ s }}
{% for i in l %}{% if no %}{% set s = 'x' %}{% endif %}{{ s }}{% endfor %}
{% set ns = namespace(a=1, b='x') %}{{ ns.a }}{{ ns.b }}{{ ns.c }}|{{ ns['a'] }}{% set ns.a = ns.a + 1 %}{{ ns.a }}{% set ns.c = [] %}{{ ns.c }}{{ ns }}
{% set ns = namespace() %}{% for i in l %}{% set ns.last = i %}{% endfor %}{{ ns.last }}{% set ns.x, ns.y = 1, 2 %}{{ ns.x }}{{ ns.y }}{% set ns.z %}zz{% endset %}{{ ns.z }}
{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a + ns.b }}{{ ns is mapping }}{{ ns is defined }}{{ ns.items is defined }}{{ namespace([('k', 'v')]).k }}
{% set ns = namespace(n=0) %}{% for i in range(3) %}{% for j in range(3) %}{% set ns.n = ns.n + i * j %}{% endfor %}{% endfor %}{{ ns.n }}
{% set ns = namespace(found=false) %}{% for m in users[::-1] if not ns.found %}{% set ns.found = true %}{{ m.name }}{% endfor %}
{% with %}{% set x = 1 %}{{ x }}{% endwith %}{{ x }}|{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}|{% with a = 1 %}{% with a = a + 1, b = a %}{{ a }}{{ b }}{% endwith %}{% endwith %}
{% filter upper %}loud {{ s }}{% endfilter %}{% filter replace('a', 'b') | upper %}banana{% endfilter %}{% filter trim %}  x  {% endfilter %}
{% raw %}{{ not }} {% rendered %} {# at all #}{% endraw %}
{% raw -%}   a   {%- endraw %}|
{# comment #}a{# {{ not }} {% at all %} #}b{#- c -#} d
{% generation %}answer {{ n }}{% endgeneration %}
{% for m in users %}{% generation %}{{ m.name }}{{ loop.index }}{% endgeneration %};{% endfor %}
{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}
{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{% set j = joiner('; ') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}
{{ dict(a=1, b=2) }}{{ dict([('x', 1)], y=2) }}{{ dict({'a': 1}, a=3) }}{{ dict() }}
{% if t: %}colon{% endif %}
{% set x = [] %}{% for i in l %}{% set x = x + [i] %}{% endfor %}{{ x }}
{% for k, v in {'a': 1, 'b': 2}.items() %}{{ loop.index }}{{ k }}{{ v }}{% endfor %}
{% for i in range(3) %}{{ i }}{% endfor %}{% for i in range(1, 3) %}{{ i }}{% endfor %}{% for i in range(3, 0, -1) %}{{ i }}{% endfor %}
{% for x in [1, 2] recursive_not %}{% endfor %}
{% set x = 5 %}{% for x in l %}{{ x }}{% endfor %}{{ x }}
{% for x in l %}{% set y = x %}{% endfor %}{{ y }}|
{% for x in l %}{% if x == 1 %}{% set hit = x %}{% endif %}{% if hit is defined %}{{ hit }}{% else %}-{% endif %}{% endfor %}
{% set ns = namespace(v='a') %}{% macro add(x) %}{% set ns.v = ns.v ~ x %}{% endmacro %}{{ add('b') }}{{ add('c') }}{{ ns.v }}
"""

MACROS = r"""
{% macro m() %}x{% endmacro %}{{ m() }}{{ m() ~ m() }}{{ m()|upper }}
{% macro m(a, b=2) %}{{ a }}-{{ b }};{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(b=1, a=4) }}{{ m() }}{{ m(a=none) }}
{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, 2) }}
{% macro m(a, b=n * 2) %}{{ a }}{{ b }}{% endmacro %}{{ m('x') }}
{% macro m(a) %}{{ a is defined }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m() }}{{ m(1, 2, 3) }}{{ m(1, x=2) }}{{ m(a=1, y=2) }}
{% macro m() %}{{ caller() }}!{% endmacro %}{% call m() %}body {{ n }}{% endcall %}
{% macro m(xs) %}{% for x in xs %}{{ caller(x, loop.index) }}{% endfor %}{% endmacro %}{% call(x, i) m(l) %}[{{ x }}:{{ i }}]{% endcall %}
{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}{% call m() %}{% endcall %}
{% macro fact(k) %}{% if k <= 1 %}1{% else %}{{ k * fact(k - 1)|int }}{% endif %}{% endmacro %}{{ fact(5) }}
{% macro outer(a) %}{% macro inner(b) %}{{ a }}{{ b }}{% endmacro %}{{ inner(2) }}{% endmacro %}{{ outer(1) }}
{% macro m(a, b) %}{% endmacro %}{{ m.name }} {{ m.arguments }} {{ m.catch_kwargs }} {{ m.catch_varargs }} {{ m.caller }} {{ m is callable }}
{% macro m(x) %}{% set y = x %}{{ y }}{% endmacro %}{% set y = 'keep' %}{{ m(1) }}{{ y }}
{% macro m() %}{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}{% endmacro %}{{ m() }}
{% set x = 1 %}{% macro m() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ m() }}
{% macro m(x) %}{{ x }}{% endmacro %}{{ l|map('string')|map('upper')|join(m('+')) }}
{% macro tojs(x) %}{% if x is mapping %}{ {%- for k, v in x.items() %}{{ k }}:{{ tojs(v) }}{{ ',' if not loop.last }}{% endfor -%} }{% elif x is string %}'{{ x }}'{% elif x is iterable %}[{% for i in x %}{{ tojs(i) }}{{ ',' if not loop.last }}{% endfor %}]{% else %}{{ x }}{% endif %}{% endmacro %}{{ tojs(tool) }}
{% macro m() %}a{% generation %}b{% endgeneration %}{% endmacro %}{{ m() }}
{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}late{% endmacro %}{{ a() }}
{{ m() if m is defined else 'no macro' }}{% macro m() %}x{% endmacro %}
{% for x in l %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}
{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[1, 2]) }}{{ m(**{'a': 3, 'b': 4}) }}{{ m(*[5], **{'b': 6}) }}
{% macro m(a, kwargs) %}{{ a }}{{ kwargs }}{% endmacro %}{{ m(1, 2) }}
{% macro m(l) %}{{ l }}{% endmacro %}{{ m('param') }}{{ l }}
{% macro m() %}{{ n }}{% set n = 1 %}{{ n }}{% endmacro %}{{ m() }}{{ n }}
"""

FILTERS = r"""
{{ -3|abs }} {{ (-3)|abs }} {{ (-2.5)|abs }} {{ true|abs }}
{{ s|capitalize }} {{ 'ÉCOLE ß'|capitalize }} {{ 'ǆ'|capitalize }} {{ 12|capitalize }}
{{ s|upper }} {{ s|lower }} {{ u|upper }} {{ 'ΑΣ ΑΣΑ'|lower }} {{ 'İ'|lower }} {{ 'ﬁ'|upper }} {{ nil|upper }} {{ missing|upper }}|
{{ 'foo bar-baz (qux) x[y] <z> o\'neil {a}'|title }} {{ 'HELLO wORLD'|title }} {{ 'ß é'|title }}
[{{ 'ab'|center(7) }}] [{{ 'abc'|center(6) }}] [{{ 'abcdef'|center(3) }}] [{{ 'a'|center }}]
[{{ sp|trim }}] [{{ 'xxhixx'|trim('x') }}] [{{ '\u3000 a\u00a0'|trim }}] [{{ 5|trim }}] [{{ 'abcba'|trim('ab') }}] [{{ 'xay'|trim(chars='xy') }}]
{{ s|length }} {{ l|count }} {{ d|length }} {{ u|length }} {{ range(4)|length }} {{ missing|length }} {{ d.items()|length }} {{ (1, 2)|length }}
{{ missing|default('x') }} {{ nil|default('x') }} {{ nil|default('x', true) }} {{ e|default('x', boolean=true) }} {{ n|default('x') }} {{ missing|default }}| {{ missing|d(0) }} {{ d.zz|default([]) }} {{ 0|default(1, true) }} {{ missing|default(default_value='k') }}
{{ l|first }} {{ l|last }} {{ s|first }} {{ s|last }} {{ el|first }}| {{ el|last }}| {{ d|first }} {{ d|last }} {{ range(3)|last }} {{ missing|first }}| {{ missing|last }}| {{ el|first is defined }} {{ u|last }}
{{ l|join }} {{ l|join(', ') }} {{ l|join(d='-') }} {{ users|join(', ', attribute='name') }} {{ s|join('.') }} {{ mix|join('|') }} {{ el|join }}| {{ missing|join }}| {{ l|join(1) }} {{ [[1], 'a', none]|join(' ') }} {{ users|join('/', 'a.b') }}
{{ users|map(attribute='name')|join(',') }} {{ users|map(attribute='a.b')|list }} {{ users|map(attribute='a', default=0)|list }} {{ ll|map(attribute=1)|list }} {{ ll|map(attribute='0')|list }} {{ words|map('upper')|list }} {{ words|map('replace', 'a', 'o')|list }} {{ l|map('string')|list }} {{ words|map('length')|sum }} {{ ll|map('first')|list }} {{ words|map('truncate', 3, true, '')|list }} {{ el|map('upper')|list }} {{ missing|map('upper')|list }} {{ nil|map('upper')|list }}
{{ l|select('odd')|list }} {{ l|reject('odd')|list }} {{ mix|select|list }} {{ mix|reject|list }} {{ l|select('gt', 1)|list }} {{ l|select('in', [1, 2])|list }} {{ mix|select('string')|list }} {{ l|select('==', 3)|list }} {{ l|reject('divisibleby', 3)|list }} {{ [none, 1]|select('none')|list }} {{ words|select('equalto', 'apple')|list }}
{{ users|selectattr('on')|map(attribute='name')|list }} {{ users|rejectattr('on')|map(attribute='name')|list }} {{ users|selectattr('age', 'gt', 30)|map(attribute='name')|list }} {{ users|selectattr('a')|list|length }} {{ users|selectattr('a', 'defined')|list|length }} {{ users|rejectattr('a', 'defined')|map(attribute='name')|first }} {{ users|selectattr('name', 'equalto', 'bob')|list }} {{ users|selectattr('a.b', 'eq', 2)|map(attribute='name')|first }} {{ ll|selectattr(1, 'eq', 4)|list }}
{{ l|sort }} {{ l|sort(reverse=true) }} {{ words|sort }} {{ words|sort(case_sensitive=true) }} {{ words|sort(true) }} {{ users|sort(attribute='age')|map(attribute='name')|list }} {{ users|sort(attribute='age,name')|map(attribute='name')|list }} {{ users|sort(true, attribute='age')|map(attribute='name')|list }} {{ d|sort }} {{ 'hello'|sort }} {{ [2.5, 1, true]|sort }} {{ ll|sort(attribute=1, reverse=true) }}
{{ words|unique|list }} {{ words|unique(true)|list }} {{ [1, 1.0, true, 2]|unique|list }} {{ users|unique(attribute='age')|map(attribute='name')|list }} {{ 'abca'|unique|join }}
{{ l|min }} {{ l|max }} {{ words|min }} {{ words|max }} {{ el|min }}| {{ users|max(attribute='age') }} {{ users|min(attribute='name') }} {{ ['a', 'B']|max(case_sensitive=true) }} {{ [1, 1.0]|max }} {{ 'hello'|max }} {{ words|min(true) }}
{{ l|sum }} {{ l|sum(start=10) }} {{ users|sum(attribute='age') }} {{ ll|sum(start=[]) }} {{ el|sum }} {{ [0.1, 0.2]|sum }} {{ [true, 1]|sum }} {{ users|sum('age', 1.5) }}
{{ l|reverse|list }} {{ s|reverse }} {{ u|reverse }} {{ d|reverse|list }} {{ (1, 2)|reverse|list }} {{ range(3)|reverse|list }} {{ l|map('string')|reverse }} {{ el|reverse|list }} {{ missing|reverse|list }}
{{ l|list }} {{ s|list }} {{ d|list }} {{ range(3)|list }} {{ (1, 2)|list }} {{ missing|list }} {{ 'é😀'|list }} {{ d.values()|list }}
{{ d|items|list }} {{ missing|items|list }} {{ ed|items|list }} {% for k, v in tool.function|items %}{{ k }} {% endfor %}
{{ d|dictsort|map('first')|list }} {{ {'b': 1, 'A': 2, 'c': 0}|dictsort }} {{ {'b': 1, 'A': 2}|dictsort(true) }} {{ {'b': 1, 'A': 2}|dictsort(by='value') }} {{ {'b': 1, 'A': 2}|dictsort(false, 'value', true) }} {{ {'b': 1, 'A': 2}|dictsort(reverse=true) }}
{{ 'aXbX'|replace('X', '-') }} {{ 'aaa'|replace('a', 'b', 2) }} {{ 'abc'|replace('', '-') }} {{ 'abc'|replace('', '-', 2) }} {{ 12|replace(1, 3) }} {{ 'aaa'|replace('aa', 'b') }} {{ 'x'|replace('x', '') }}| {{ 'aaa'|replace('a', 'b', count=1) }} {{ 'aaa'|replace(old='a', new='c') }} {{ nil|replace('N', 'n') }}
{{ 5|string + 'x' }} {{ l|string }} {{ nil|string }} {{ missing|string }}| {{ 1.0|string }} {{ s|string is string }}
{{ '42'|int }} {{ ' 42 '|int }} {{ '4.9'|int }} {{ 'x'|int }} {{ 'x'|int(7) }} {{ '-3'|int }} {{ 3.9|int }} {{ -3.9|int }} {{ true|int }} {{ none|int }} {{ '0x1A'|int(base=16) }} {{ '0b11'|int(0, 2) }} {{ '11'|int(base=2) }} {{ '0x1f'|int(0, 0) }} {{ '1_000'|int }} {{ '1e3'|int }} {{ ''|int }} {{ '+5'|int }} {{ [1]|int(default=-1) }} {{ 'inf'|int }} {{ 'nan'|int }} {{ '_1'|int }} {{ '12abc'|int }} {{ '0x1A'|int }} {{ '08'|int }} {{ '٣'|int(9) if false else 3 }}
{{ '1.5'|float }} {{ 3|float }} {{ 'x'|float }} {{ 'x'|float(2) }} {{ '1e3'|float }} {{ ' 7 '|float }} {{ none|float }} {{ 'inf'|float }} {{ '-Infinity'|float }} {{ true|float }} {{ '.5'|float }} {{ '5.'|float }} {{ '1_0.5'|float }} {{ 'nan'|float }} {{ '1e'|float }} {{ '0x10'|float }}
{{ 2.5|round }} {{ 3.5|round }} {{ -2.5|round }} {{ 2.675|round(2) }} {{ 1234.5678|round(2) }} {{ 1234.5678|round(-2) }} {{ 5|round }} {{ 15|round(-1) }} {{ 25|round(-1) }} {{ 26|round(-1) }} {{ 2.1|round(0, 'ceil') }} {{ 2.9|round(method='floor') }} {{ 2.123|round(2, 'ceil') }} {{ 7|round(1, 'floor') }} {{ 0.5|round }} {{ 1.005|round(2) }} {{ 1e22|round(1) }} {{ true|round }} {{ -0.4|round }}
{{ html|e }} {{ html|escape }} {{ html|escape|escape }} {{ html|forceescape }} {{ html|safe }} {{ html|safe|e }} {{ nil|e }} {{ 5|e }} {{ html|e|forceescape }}
{{ (html|safe) + '<' }} {{ '<' + (html|safe) }} {{ (html|safe) ~ '<' }} {{ ('<'|safe) * 2 + '>' }} {{ ['<'|safe, '<'] }} {{ ('<'|safe)|upper + '<' }} {{ ('<%s>'|safe) % '<' }} {{ ('<%s>'|safe)|format('&') }} {{ ('<'|safe).join(['&', '<'|safe]) }} {{ ('a<'|safe).replace('a', '<') }} {{ ('a<'|safe)|replace('a', '<') + '<' }} {{ ('<a>'|safe)[0] + '<' }} {{ ['<'|safe, '<']|join }} {{ ('<{}>'|safe).format('<') }} {{ ('<'|safe)|trim + '<' }} {{ ('<'|safe) == '<' }} {{ ('a b'|safe).split() }} {{ ('<'|safe).center(3, '"') }} {{ '<'|safe|string + '<' }}
{{ 'a\nb\n\nc'|indent }}| {{ 'a\nb'|indent(2) }}| {{ 'a\nb'|indent(2, true) }}| {{ 'a\n\nb'|indent(2, false, true) }}| {{ 'a\nb'|indent('> ') }}| {{ 'a\nb'|indent(width='--', first=true) }}| {{ lines|indent(1) }}| {{ ''|indent }}| {{ 'x\n'|indent }}|
{{ 'one two,three_four it\'s é1'|wordcount }} {{ ''|wordcount }} {{ 5|wordcount }} {{ '你好 世界'|wordcount }}
{{ 'foo bar baz qux'|truncate(9) }} {{ 'foo bar baz qux'|truncate(9, true) }} {{ 'foo bar baz qux'|truncate(11) }} {{ 'foo bar baz qux'|truncate(11, false, '..', 0) }} {{ 'foo bar'|truncate(5, leeway=0) }} {{ s|truncate }}
{{ range(7)|batch(3)|list }} {{ range(7)|batch(3, 'x')|list }} {{ range(7)|slice(3)|list }} {{ range(7)|slice(3, 'x')|list }} {{ el|batch(2)|list }} {{ el|slice(2)|list }} {{ 'abcde'|batch(2)|map('join')|list }} {{ range(4)|batch(2, 0)|list }}
{% for g in users|groupby('age') %}{{ g.grouper }}:{{ g.list|map(attribute='name')|join(',') }} {% endfor %}{% for age, us in users|groupby('age') %}{{ age }}{{ us|length }} {% endfor %}{{ ['a', 'B', 'b']|groupby(0) }} {{ users|groupby('a.b', default=0)|map('first')|list }} {{ [{'k': 'A'}, {'k': 'a'}]|groupby('k') }} {{ [{'k': 'A'}, {'k': 'a'}]|groupby('k', case_sensitive=true) }}
{{ s|attr('upper') is callable }} {{ d|attr('b') }}| {{ d|attr('keys') is defined }} {{ (s|attr('upper'))() }} {{ s|attr('nope') is defined }}
{{ '%s and %s'|format('a', 1) }} {{ '%(x)s-%(y)d'|format(x='k', y=7) }} {{ '%05d|%-5s|%5s|%+d'|format(42, 'ab', 'cd', 3) }} {{ '%.2f'|format(3.14159) }} {{ '100%%'|format }} {{ 'plain'|format }} {{ 5|format }}
{{ s|upper|lower|title|trim|length }} {{ l|sort|reverse|list|first }} {{ words|map('lower')|unique|sort|join('-') }} {{ users|map(attribute='name')|map('lower')|select('in', ['bob'])|list }}
{% set g = l|map('string') %}{{ g|list }}{{ g|list }}{% set h = l|map('string') %}{{ h|first }}{{ h|list }}
{{ l|map('string') is iterable }} {{ l|map('string') is sequence }} {{ l|map('string') is string }} {{ 1 in l|map('int') }}
{{ 'x' is filter }} {{ 'upper' is filter }} {{ 'tojson' is filter }} {{ 'odd' is test }} {{ 'upper' is test }}
{{ x|nofilter if false else 'not looked up' }}
{% if false %}{{ x|nofilter }}{% endif %}fine
{{ s|d|e|length }} {{ n|string|length }} {{ l|map('multiply', 2)|first if false }}|
"""

TOJSON = r"""
{{ d|tojson }} {{ l|tojson }} {{ s|tojson }} {{ nil|tojson }} {{ t|tojson }} {{ n|tojson }} {{ f|tojson }} {{ ed|tojson }} {{ el|tojson }} {{ u|tojson }}
{{ tool|tojson }}
{{ tool|tojson(indent=2) }}
{{ tool|tojson(indent=4, ensure_ascii=true) }}
{{ mix|tojson(indent=1) }} {{ [[], {}]|tojson(indent=2) }} {{ l|tojson(indent=0) }} {{ l|tojson(indent='--') }} {{ l|tojson(true) }} {{ l|tojson(indent=none) }}
{{ u|tojson(ensure_ascii=true) }} {{ u|tojson(true) }} {{ '\x7f\x80'|tojson(ensure_ascii=true) }}
{{ d|tojson(sort_keys=true) }} {{ d|tojson(separators=(',', ':')) }} {{ d|tojson(separators=[', ', '=']) }} {{ l|tojson(false, 2, (';', ':')) }}
{{ '\x00\x1f\b\f\n\r\t"\\/\x7f\u2028<>&\''|tojson }} {{ {1: 2, none: 3, true: 4, 1.5: 5}|tojson }} {{ (1, (2, 3))|tojson }} {{ 1e100|tojson }} {{ 1.0|tojson }} {{ 1e-7|tojson }} {{ ('<'|safe)|tojson }} {{ (1e308 * 10)|tojson }} {{ -1|tojson }} {{ big|tojson }}
{{ html|tojson }} {{ d|tojson|length }} {{ d|tojson|safe }} {{ users|map('tojson')|join('\n') }} {{ [range(2)|list]|tojson }} {{ 'a' ~ d|tojson }}
"""

TESTS = r"""
{{ n is defined }} {{ missing is defined }} {{ missing is undefined }} {{ nil is defined }} {{ missing is not defined }} {{ d.b is defined }} {{ d.q is not defined }}
{{ nil is none }} {{ n is none }} {{ missing is none }} {{ nil is not none }} {{ n is not none }}
{{ t is boolean }} {{ 1 is boolean }} {{ t is true }} {{ 1 is true }} {{ no is false }} {{ 0 is false }} {{ t is not false }}
{{ 1 is integer }} {{ t is integer }} {{ 1.0 is integer }} {{ 1.0 is float }} {{ 1 is float }} {{ 1 is number }} {{ 1.5 is number }} {{ t is number }} {{ '1' is number }}
{{ s is string }} {{ n is string }} {{ (s|safe) is string }} {{ nil is string }} {{ missing is string }} {{ l is string }}
{{ d is mapping }} {{ l is mapping }} {{ missing is mapping }} {{ d is sequence }} {{ l is sequence }} {{ s is sequence }} {{ n is sequence }} {{ missing is sequence }} {{ (1,) is sequence }} {{ range(2) is sequence }} {{ d.keys() is sequence }} {{ nil is sequence }}
{{ d is iterable }} {{ l is iterable }} {{ s is iterable }} {{ n is iterable }} {{ nil is iterable }} {{ missing is iterable }} {{ d.items() is iterable }} {{ l|map('int') is iterable }}
{{ 3 is odd }} {{ 4 is odd }} {{ 4 is even }} {{ -3 is odd }} {{ 3.0 is odd }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(4) }} {{ 9 is not divisibleby 2 }} {{ t is odd }}
{{ 1 is eq 1 }} {{ 1 is eq(2) }} {{ 1 is equalto 1.0 }} {{ 1 is ne 2 }} {{ 1 is lt 2 }} {{ 2 is le 2 }} {{ 3 is gt 2 }} {{ 2 is ge 3 }} {{ 1 is lessthan 2 }} {{ 1 is greaterthan 2 }} {{ 'a' is eq 'a' }} {{ 5 is not eq 5 }} {{ s is eq "Hello World" }} {{ l is eq [3, 1, 2] }}
{{ 1 is in l }} {{ 'ell' is in s }} {{ 9 is not in l }} {{ 'b' is in(d) }} {{ 1 is in [1] }}
{{ nil is sameas none }} {{ t is sameas true }} {{ 1 is sameas true }} {{ l is sameas l }} {{ [1] is sameas [1] }} {{ d is sameas(d) }} {{ no is sameas false }}
{{ 'abc' is lower }} {{ 'aBc' is lower }} {{ 'ABC' is upper }} {{ 'A1' is upper }} {{ '1' is upper }} {{ '' is lower }} {{ 'ß' is lower }} {{ 'É' is upper }}
{{ s.upper is callable }} {{ s is callable }} {{ range is callable }} {{ missing is callable }} {{ namespace is callable }} {{ raise_exception is callable }} {{ joiner() is callable }} {{ cycler(1) is callable }}
{{ (html|e) is escaped }} {{ html is escaped }} {{ n is escaped }}
{{ n is defined and n is number }} {{ missing is defined or nil is none }} {{ not missing is defined }} {{ (n is odd) == true }} {{ 'yes' if n is odd else 'no' }} {{ d.a[1].c is none }} {{ s is string and s|length > 3 }} {{ n is number is defined }}
{% if messages is defined and messages %}x{% else %}y{% endif %}{% if users is iterable and users is not string and users is not mapping %}list{% endif %}
"""

METHODS = r"""
{{ s.upper() }} {{ s.lower() }} {{ s.title() }} {{ s.capitalize() }} {{ s.swapcase() }} {{ 'they\'re bill\'s éa'.title() }} {{ 'ß'.upper() }} {{ 'ŉ'.upper() }} {{ 'ﬃ x'.title() }} {{ 'ΑΣ'.lower() }} {{ 'Σ'.lower() }} {{ 'Σa'.lower() }} {{ 'aΣ\'b'.lower() }} {{ 'aΣ.'.lower() }}
[{{ sp.strip() }}] [{{ sp.lstrip() }}] [{{ sp.rstrip() }}] [{{ 'xxaxx'.strip('x') }}] [{{ 'xyaxy'.lstrip('yx') }}] [{{ 'axyx'.rstrip('x') }}] [{{ '\n\na\n'.strip('\n') }}] [{{ ' a '.strip(none) }}] [{{ '你好你'.strip('你') }}] [{{ 'abc'.strip('') }}] [{{ '\u2003a\x1f\x85'.strip() }}]
{{ csv.split(',') }} {{ csv.split(',', 1) }} {{ csv.split(sep=',', maxsplit=2) }} {{ 'a b  c '.split() }} {{ 'a b  c '.split(' ') }} {{ ' a  b c '.split(none, 1) }} {{ 'abc'.split('x') }} {{ ''.split(',') }} {{ ''.split() }} {{ 'a<>b<>c'.split('<>') }} {{ 'aaa'.split('a') }} {{ csv.split(',', 0) }} {{ csv.split(',', -5) }} {{ '你，好'.split('，') }}
{{ csv.rsplit(',', 1) }} {{ csv.rsplit(',') }} {{ ' a b  c '.rsplit() }} {{ ' a b  c '.rsplit(none, 1) }} {{ ' a b  c '.rsplit(maxsplit=2) }} {{ 'abc'.rsplit('x', 1) }} {{ 'aXbXc'.rsplit('X', maxsplit=1) }}
{{ 'a\nb\r\nc\rd\x0be\x85f\u2028g'.splitlines() }} {{ 'a\nb\n'.splitlines() }} {{ 'a\nb\n'.splitlines(true) }} {{ ''.splitlines() }} {{ '\n\n'.splitlines() }} {{ 'a\r\nb'.splitlines(keepends=true) }}
{{ s.startswith('Hell') }} {{ s.startswith('ell', 1) }} {{ s.startswith(('x', 'He')) }} {{ s.startswith('') }} {{ s.endswith('ld') }} {{ s.endswith('Wor', 0, 9) }} {{ s.endswith(('ld', 'x')) }} {{ s.startswith('Hello World!') }} {{ s.startswith('W', 6, 7) }} {{ s.startswith('d', -1) }} {{ ''.startswith('', 1) }} {{ s.startswith(()) }}
{{ 'aXbX'.replace('X', '-') }} {{ 'aaa'.replace('a', 'b', 2) }} {{ 'abc'.replace('', '.') }} {{ 'aaa'.replace('a', '', -1) }}| {{ 'aaa'.replace('a', 'x', 0) }} {{ ''.replace('', 'x') }} {{ '你好'.replace('', '-') }}
{{ s.find('o') }} {{ s.find('o', 5) }} {{ s.find('zz') }} {{ s.rfind('o') }} {{ s.index('W') }} {{ s.rindex('l') }} {{ u.find('好') }} {{ s.find('o', 0, 3) }} {{ s.find('') }} {{ s.rfind('') }} {{ s.find('', 99) }} {{ u.rfind('l') }} {{ s.count('l') }} {{ s.count('l', 4) }} {{ s.count('') }} {{ 'aaaa'.count('aa') }}
{{ ', '.join(['a', 'b']) }} {{ ''.join(words) }} {{ '-'.join('abc') }} {{ ','.join([]) }}| {{ ','.join({'a': 1, 'b': 2}) }} {{ '/'.join(words|map('lower')) }}
{{ 'a=b=c'.partition('=') }} {{ 'a=b=c'.rpartition('=') }} {{ 'abc'.partition('=') }} {{ 'abc'.rpartition('=') }}
{{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.txt'.removesuffix('.txt') }} {{ 'x'.removeprefix('y') }} {{ 'x'.removesuffix('') }}
[{{ 'a'.ljust(3) }}] [{{ 'a'.rjust(3, '.') }}] [{{ 'a'.center(4, '*') }}] [{{ 'ab'.center(5) }}] [{{ '7'.zfill(3) }}] [{{ '-7'.zfill(4) }}] [{{ 'abc'.zfill(2) }}] [{{ '你'.ljust(3, '好') }}] [{{ 'a\tb'.expandtabs() }}] [{{ 'a\tbc\td'.expandtabs(4) }}]
{{ 'abc'.isalpha() }} {{ 'ab1'.isalpha() }} {{ '123'.isdigit() }} {{ '²'.isdigit() }} {{ '²'.isdecimal() }} {{ '½'.isnumeric() }} {{ 'ab1'.isalnum() }} {{ ' \t'.isspace() }} {{ ''.isspace() }} {{ 'abc'.islower() }} {{ 'ABC'.isupper() }} {{ 'Abc Def'.istitle() }} {{ 'abc'.isascii() }} {{ u.isascii() }} {{ 'a_1'.isidentifier() }} {{ '1a'.isidentifier() }} {{ 'a\n'.isprintable() }} {{ '你'.isalpha() }} {{ ''.isalpha() }} {{ ''.isascii() }} {{ '٣'.isdigit() }}
{{ '{} and {}'.format(1, 'b') }} {{ '{0}{1}{0}'.format('a', 'b') }} {{ '{x}-{y}'.format(x=1, y=2) }} {{ '{{}}'.format() }} {{ '{a[b]} {c.name}'.format(a={'b': 5}, c=users[0]) }} {{ '{!r} {!s} {!a}'.format('a', 'é', 'é') }} {{ '{0[1]}'.format(l) }}
{{ '{:>5}|{:<5}|{:^5}|{:*^7}|{:5}|{:5}'.format('a', 'b', 'c', 'd', 'e', 1) }} {{ '{:05d} {:+d} {:x} {:#x} {:b} {:o} {:X} {:,} {:_}'.format(42, 42, 255, 255, 5, 8, 255, 1234567, 1234567) }} {{ '{:.2f} {:8.3f} {:e} {:.1%} {:g} {:+.1f} {:010.2f} {:.3g} {:,.2f}'.format(3.14159, 2.5, 12345.678, 0.256, 0.0001, 2.0, -3.14159, 1234.5, 1234567.891) }} {{ '{:.3}|{:10.2}|'.format('abcdef', 'xyz') }} {{ '{:{w}}|{:{a}{w}}|'.format('a', 'b', w=4, a='>') }} {{ '{:d} {:c} {:n} {}'.format(true, 65, 7, true) }} {{ '{} {:}'.format(none, 1.5) }} {{ '{:.2} {:.5} {:6} {:<6}|'.format(1234.5, 2.0, 1.5, 2.5) }} {{ '{:05}|{:<05}|{:=+5}'.format('a', 3, 4) }}
{{ '%s %r %d %i %5.1f %e %g %x %o %X %c %%' % ('a', 'b', 1, 2.9, 3.14159, 1234.5, 0.00001, 255, 8, 255, 'z') }} {{ '%s' % 5 }} {{ '%s' % [1, 2] }} {{ '%(a)s %(b)05.1f' % {'a': 1, 'b': 2} }} {{ '%-6s|%6s|%06d|% d|%+.3d' % ('a', 'b', 42, 7, 5) }} {{ '%*d|%.*f' % (5, 42, 2, 3.14159) }} {{ '%s' % none }} {{ '%d' % true }} {{ '%#x %#o' % (255, 8) }} {{ '%c' % 128512 }} {{ '%s' % (1,) }} {{ 'x' % [] }} {{ 'x' % {} }} {{ '%a' % 'é' }} {{ '%.2s|' % 'abc' }} {{ '%5%|' % () }} {{ '%E %G' % (1e10, 1e-10) }} {{ '%05s|%-05d|' % ('a', 3) }} {{ '%x' % -255 }}
{{ 2.0.is_integer() }} {{ f.is_integer() }}
{{ d.items()|list == d|items|list }} {{ d.keys()|list|length }} {{ d.get('a')|last }} {{ (d.values()|list)[0] }} {{ 'b' in d.keys() }} {{ 1 in d.values() }} {{ d.keys() == d.keys() }}
"""

WHITESPACE = [
    "a\n{% if true %}\nb\n{% endif %}\nc\n", "a\n  {% if true %}  \n  b\n  {% endif %}\nc", "{%- if true -%}  x  {%- endif -%}  y",
    "a  {%- if true %} b {% endif -%}  c", "a\n\n  {{- 'x' -}}  \n\n b", "a {{ 'x' }}\n{{ 'y' }}\n", "  {% set x = 1 %}\n{{ x }}",
    "a\n   {# c #}   \nb", "a\n   {#- c -#}   \nb", "  {# c #}\n  {{ 1 }}\n", "a {% if true %} {% endif %} b", "x{% if true %}\n\ny{% endif %}",
    "  {%+ if true %}x{% endif %}", "a\n  {%+ if true %}x{%+ endif %}", "{% if true +%}\nx{% endif %}", "{% if true %}\n\n\nx\n\n{% endif %}\n\n", "\n\n\n",
    "a\r\nb\rc\n", "a\n", "a\n\n", "", " ", "{{ 'a\r\nb' }}", "{{-5}}", "{{+5}}", "{{- -5 }}", "{% raw %}\n a {% endraw %}\n b", "  {% raw %} x {% endraw %}  ",
    "a {%- raw %} {{ x }} {%- endraw -%}\n b", "{%- raw -%} y {% endraw +%}\n z", "a\n\t{% for x in l %}\n\t{{ x }}\n\t{% endfor %}\nb", "a\u3000{%- if true %}x{% endif -%}\u00a0b",
    "{{ '{{' }} {{ '%}' }} {{ \"}}\" }}", "{{ {'a': {'b': 1}} }}", "{{ {'a': {'b': 1}}['a']['b'] }}", "{ { } } %} }} #}", "{% if true %}{# c #}\nx{% endif %}",
    "{#\n multi\n line\n#}\nx", "{% set x\n  = 1\n%}\n{{\n x \n}}", "a{% if true -%}\n\n b \n\n{%- endif %}c", "{%- for x in l -%}\n {{ x }}\n{%- endfor -%}\n", "x {%- set a = 1 -%} y",
    "line\n    {%- if true %}\n    in\n    {%- endif %}\nend", "  a {% if true %}\n  b\n  {% endif %} c", "{{ 1 -}}\n\n{{- 2 }}", "\t {% if true %}\t x{% endif %}", "a\n{{ 'x' }}\n{% if false %}\n{% endif %}\n{% if false %}\n{% endif %}\nb",
    "{% generation %}\nx\n{% endgeneration %}\ny", "a{#b#}c{#d#}\ne", "{{ 'a' }}  \n  {{ 'b' }}", "{%if true%}x{%endif%}", "{%-if true-%} x {%-endif-%}", "{{'a'-}} b", "{#-#}x{#+#}", "x\n {#- a #}\n y", "{{ [1,\n 2] }}\nline {{ 3 }}",
    "a\n{% set x %}\n b\n{% endset %}\n[{{ x }}]", "{% macro m() %}\n  x\n{% endmacro %}\n[{{ m() }}]", "{% filter upper %}\n a\n{% endfilter %}\nb", "\x0b{% if true %}a{% endif %}\x0c\n", "é{% if true %}\né\n{% endif %}é",
]

ERRORS = r"""
{{ missing.foo }}
{{ missing['foo'] }}
{{ missing() }}
{{ missing + 1 }}
{{ 1 + missing }}
{{ 'a' + missing }}
{{ -missing }}
{{ missing < 1 }}
{{ missing[1:] }}
{{ d.nope.deeper }}
{{ nil + 1 }}
{{ 'a' + 1 }}
{{ 1 + 'a' }}
{{ [1] + (2,) }}
{{ {} + {} }}
{{ 'a' - 'b' }}
{{ 'a' * 'b' }}
{{ 'a' * 1.5 }}
{{ 1 / 0 }}
{{ 1 // 0 }}
{{ 1 % 0 }}
{{ 1.0 / 0 }}
{{ 0 ** -1 }}
{{ 1 < 'a' }}
{{ none < 1 }}
{{ [1] < ['a'] }}
{{ {} < {} }}
{{ 1 in 5 }}
{{ 1 in s }}
{{ [1] in d }}
{{ missing in s }}
{{ 1 in nil }}
{{ n() }}
{{ s() }}
{{ nil() }}
{{ l.append(1) }}
{{ d.update({}) }}
{{ d.pop('b') }}
{{ s.__class__.__mro__ }}
{{ s.nope() }}
{{ l[1:2:0] }}
{{ l['a':] }}
{{ n[1:] }}
{{ d[1:] }}
{{ {[1]: 2} }}
{% for x in n %}{% endfor %}
{% for x in nil %}{% endfor %}
{% for a, b in l %}{% endfor %}
{% for a, b in [[1, 2, 3]] %}{% endfor %}
{% set a, b = 1, 2, 3 %}
{% set a, b = 5 %}
{% set d.x = 1 %}
{% set nothing.x = 1 %}
{% set ns = namespace() %}{% set ns._x = 1 %}
{{ namespace(_x=1) }}
{{ raise_exception('no') }}
{% if n == 5 %}{{ raise_exception('n is ' ~ n) }}{% endif %}
{{ raise_exception() }}
{{ range(100001) }}
{{ range(1, 2, 0) }}
{{ range('a') }}
{{ range() }}
{{ s|nofilter }}
{{ s is notest }}
{% if t %}{{ s|nofilter }}{% endif %}
{{ l|map('nofilter')|list }}
{{ l|select('notest')|list }}
{{ l|map|list }}
{{ l|map(foo=1)|list }}
{{ users|selectattr|list }}
{{ n|length }}
{{ nil|length }}
{{ l|map('string')|length }}
{{ l|map('string')|last }}
{{ n|first }}
{{ nil|list }}
{{ n|join }}
{{ n|sort }}
{{ mix|sort }}
{{ [1, none]|sort }}
{{ [[1]]|unique|list }}
{{ [1, 'a']|max }}
{{ words|sum }}
{{ words|sum(start='') }}
{{ s|abs }}
{{ nil|abs }}
{{ s|round }}
{{ 2.5|round(1, 'up') }}
{{ missing|int }}
{{ missing|float }}
{{ missing|abs }}
{{ missing|tojson }}
{{ [missing]|tojson }}
{{ range(2)|tojson }}
{{ d.items()|tojson }}
{{ {(1, 2): 3}|tojson }}
{{ namespace(a=1)|tojson }}
{{ {1: 1, 'a': 2}|tojson(sort_keys=true) }}
{{ l|items|list }}
{{ l|dictsort }}
{{ d|dictsort(by='x') }}
{{ s|replace('a') }}
{{ s|upper(1) }}
{{ s|trim(1) }}
{{ s|default(1, 2, 3) }}
{{ s|join(foo=1) }}
{{ l|batch }}
{{ n|indent }}
{{ s.split('') }}
{{ s.split(1) }}
{{ s.strip(1) }}
{{ s.strip(chars='x') }}
{{ s.replace('a') }}
{{ s.replace('a', 'b', count=1) }}
{{ s.index('zz') }}
{{ s.startswith(1) }}
{{ s.startswith(['a']) }}
{{ s.upper(1) }}
{{ ','.join([1]) }}
{{ ','.join(5) }}
{{ s.center('a') }}
{{ 'a'.center(3, 'xy') }}
{{ l.index(9) }}
{{ d.get() }}
{{ d.get([1]) }}
{{ d.items(1) }}
{{ '%d' % 'a' }}
{{ '%s %s' % 'a' }}
{{ '%s' % ('a', 'b') }}
{{ '%(a)s' % 5 }}
{{ '%(a)s' % {} }}
{{ '%y' % 5 }}
{{ '%' % 5 }}
{{ 'a' % 5 }}
{{ '%s'|format }}
{{ '%s'|format(1, a=2) }}
{{ '{}'.format() }}
{{ '{0} {}'.format(1) }}
{{ '{x}'.format() }}
{{ '{'.format() }}
{{ '}'.format() }}
{{ '{:d}'.format('a') }}
{{ '{:5}'.format(none) }}
{{ '{:z}'.format(1) }}
{{ s is divisibleby 2 }}
{{ 3 is divisibleby 0 }}
{{ s is odd }}
{{ 1 is in 5 }}
{{ 1 is divisibleby }}
{{ 1 is defined(2) }}
{{ 1 is lt 'a' }}
{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{% endmacro %}{{ m(b=1) }}
{% macro m(a) %}{{ a.b }}{% endmacro %}{{ m() }}
{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}
{% macro m(a, a) %}{% endmacro %}
{% macro m(a=1, b) %}{% endmacro %}
{% macro m(caller) %}{{ caller() }}{% endmacro %}
{% macro m() %}{% break %}{% endmacro %}
{% macro m() %}x{% endmacro %}{% call m() %}{% endcall %}
{% call n %}{% endcall %}
{% call n() %}{% endcall %}
{{ m(a=1, a=2) }}
{{ m(a=1, 2) }}
{{ m(**5) }}
{{ range(*5) }}
{{ dict(5) }}
{{ dict([1]) }}
{{ cycler() }}
{% for x in l %}{{ loop() }}{% endfor %}
{% for x in l %}{{ loop.cycle() }}{% endfor %}
{% for x in l %}{{ loop.nope.x }}{% endfor %}
{{ loop.index }}
{% for x in l %}{% set loop = 1 %}{% endfor %}
{% for loop in l %}{% endfor %}
{% break %}
{% continue %}
{% if t %}{% break %}{% endif %}
{% for x in l %}{% else %}{% break %}{% endfor %}
{% if t %}
{% if %}{% endif %}
{% elif t %}
{% endif %}
{% for x in l %}
{% for x l %}{% endfor %}
{% for in l %}{% endfor %}
{% for 1 in l %}{% endfor %}
{% for x.y in l %}{% endfor %}
{% endfor %}
{% set %}
{% set x %}
{% set 1 = 2 %}
{% set x = %}
{% set true = 1 %}
{% set x.y.z = 1 %}
{% set x[0] = 1 %}
{% unknown %}
{% 5 %}
{% %}
{%
{{
{{ 'a }}
{{ "a }}
{{ a
{{ }}
{{ a b }}
{{ a. }}
{{ a.'b' }}
{{ a['b' }}
{{ (a }}
{{ a) }}
{{ [a }}
{{ {a }}
{{ {'a'} }}
{{ {'a':} }}
{{ {'a' 1} }}
{{ [1 2] }}
{{ 1 + }}
{{ * 2 }}
{{ a | }}
{{ a | 5 }}
{{ a is }}
{{ a is 5 }}
{{ a is defined is defined }}
{{ a not b }}
{{ not }}
{{ a if }}
{{ a == }}
{{ a = 1 }}
{{ a ? b }}
{{ a & b }}
{{ a ! b }}
{{ $a }}
{{ 'a\u12' }}
{{ '\x1' }}
{{ 1.2.3 }}
{{ 0777 }}
{{ 1a }}
{{ a.1b }}
{# unclosed
{% raw %} unclosed
{% endraw %}
{% include 'x' %}
{% extends 'x' %}
{% import 'x' as y %}
{% generation %}
{% with a %}{% endwith %}
{% filter %}x{% endfilter %}
{% filter nofilter %}x{% endfilter %}
{% do 1 %}
{% print %}{{ 
{{ 1 if t else }}
{{ x|d( }}
{{ () () }}
{{ [] }} {{ [][0].x }}
{{ [1](0) }}
{{ 'a'.b.c }}
{{ 5.5.foo.bar }}
{{ nil.a.b }}
{{ users[9].name }}
{{ users.name.first }}
{{ missing|attr("upper") }}
{{ d|map(attribute='x.y')|list }}
"""


def constructs():
    """All templates, without duplicates, in order. An error is expected of any as jinja2 says, not as the table says."""
    templates = []
    for table in (OUTPUT, OPERATORS, ACCESS, STATEMENTS, MACROS, FILTERS, TOJSON, TESTS, METHODS, ERRORS):
        templates += expand(table.strip("\n").split("\n"))
    templates += WHITESPACE
    return list(dict.fromkeys(templates))


def expand(lines):
    """A line that ends in a backslash goes on; a line of several outputs with spaces between also counts singly."""
    joined, pending = [], ""
    for line in lines:
        if line.endswith("\\"):
            pending += line + "\n"
        else:
            joined.append(pending + line)
            pending = ""
    templates = []
    for line in joined:
        templates.append(line)
        if not line.startswith("{{") or "{%" in line:
            continue
        parts = line.replace("| {{", "\0{{").replace("}} {{", "}}\0{{").split("\0")
        if len(parts) > 3 and all(part.startswith("{{") for part in parts):
            templates.pop()  # one expression a case: an error in one must not hide the others
            templates += parts
    return templates
