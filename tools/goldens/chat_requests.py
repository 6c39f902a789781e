#!/usr/bin/env python3
"""Makes tests/goldens/templates/requests.json: conversations in no template's shape, as each template is to write them.

    tools/goldens/chat_requests.py [--vocabularies build/vocabularies]

Needs transformers 5.24.0 and jinja2 3.1.6. The rules of src/session/chat_writer.h and thinking.h once more: what a
template does with calls, results, tools and switches is stated here by hand (FACTS), as a reader of it finds it, and
jinja2, set up by transformers, says what it refuses and renders. A message's content may be null, which transformers
would drop, so messages are given to jinja2 as they are.
"""
import argparse
import json
import pathlib

import jinja2
from transformers.utils.chat_template_utils import render_jinja_template

from template_conversations import ADD, WEATHER
from templates import BOS, EOS, GOLDENS, ROOT, family_sources, outcome, provenance, vocabulary_sources, write

# Templates with traits of families that are not here as files; ours, as short as they can be.
TURNS = """{%- for m in messages -%}<{{ m.role }}>{{ m.content }}
{%- for c in m.tool_calls or () -%}<call {{ c.function.name }}>
{%- for key, value in c.function.arguments|items -%}<{{ key }}>{{ value if value is string else value|tojson }}{%- endfor -%}
</call>{%- endfor -%}<end>
{% endfor -%}"""
OPENS = "{%- if add_generation_prompt -%}<assistant>{{ opening }}{%- endif -%}"
TEMPLATES = {
    "system first": "{%- for m in messages if m.role == 'system' and not loop.first -%}{{ raise_exception('The system speaks first') }}"
                    "{%- endfor -%}{%- for m in messages[1:] if m.role == 'system' -%}{{ raise_exception('The system speaks first') }}{%- endfor -%}"
                    "{%- if not messages|selectattr('role', 'eq', 'user')|list -%}{{ raise_exception('Nobody asks') }}{%- endif -%}"
                    "{%- for t in tools or () -%}{{ t|tojson }}\n{% endfor -%}" + TURNS +
                    "{%- set opening = '<think>\\n\\n</think>\\n\\n' if enable_thinking is false else '<think>\\n' -%}" + OPENS,
    "strict": "{%- set said = messages[1:] if messages[0].role == 'system' else messages -%}"
              "{%- for m in said -%}{%- if (m.role == 'user') != (loop.index0 % 2 == 0) or m.role == 'system' -%}"
              "{{ raise_exception('User and assistant alternate') }}{%- endif -%}{%- endfor -%}"
              "{%- for m in messages -%}[{{ m.role }}]{{ m.content|trim }}{%- endfor -%}",
    "no system": "{%- for m in messages -%}{%- if m.role == 'system' -%}{{ raise_exception('There is no system') }}{%- endif -%}"
                 "[{{ m.role }}]{{ m.content }}{%- endfor -%}",
    "efforts": "{%- if reasoning_effort is defined and reasoning_effort not in ['low', 'medium', 'high'] -%}"
               "{{ raise_exception('No such effort') }}{%- endif -%}effort: {{ reasoning_effort or 'medium' }}\n" + TURNS + OPENS,
    "deaf": "{%- for m in messages -%}<{{ m.role }}>{%- if m.role != 'system' -%}{{ m.content }}{%- endif -%}{%- endfor -%}",
}


def facts(tools=False, calls=None, beside=True, several=True, results=True, switch=False, efforts=(), form="tagged_json"):
    """calls: (what stands for the content of a message that only calls, whether arguments are objects)."""
    return {"tools": tools, "calls": calls, "beside": beside, "several": several, "results": results, "switch": switch,
            "efforts": efforts, "form": form}


ABSENT, EMPTY, NULL = "absent", "empty", "null"
FACTS = {
    "chatml_qwen1.jinja": facts(), "chatml_qwen1_5.jinja": facts(), "chatml_qwen2.jinja": facts(),
    "chatml_qwen2_5.jinja": facts(True, (ABSENT, True)), "chatml_qwq.jinja": facts(True, (ABSENT, True)),
    "chatml_qwen3.jinja": facts(True, (ABSENT, True), switch=True),
    "chatml_qwen3_instruct_2507.jinja": facts(True, (ABSENT, True)),
    "chatml_qwen3_thinking_2507.jinja": facts(True, (ABSENT, True)),
    "deepseek_r1_distill.jinja": facts(calls=(NULL, False), beside=False, form="deepseek_v3"),
    "deepseek_r1_february.jinja": facts(calls=(ABSENT, False), form="deepseek_v3"),
    "deepseek_v3.jinja": facts(calls=(ABSENT, False), form="deepseek_v3"),
    "deepseek_v3_1.jinja": facts(calls=(ABSENT, True), switch=True, form="deepseek_v31"),
    "deepseek_v2.jinja": facts(results=False, form="dsml"),
    "llama3.jinja": facts(True, (ABSENT, True), beside=False, several=False, form="llama_json"),
    "strict_turns.jinja": facts(form="tagged_xml"), "xml_tools.jinja": facts(True, (ABSENT, True), form="tagged_xml"),
    "deepseek_v3": facts(calls=(NULL, False), beside=False, form="deepseek_v3"),
    "qwen3": facts(True, (EMPTY, True), switch=True), "tiny-r1": facts(), "tiny-qwen": facts(),
    "system first": facts(True, (ABSENT, True), switch=True, form="tagged_xml"), "strict": facts(results=False),
    "no system": facts(), "efforts": facts(calls=(ABSENT, True), efforts=("low", "medium", "high")),
    "deaf": facts(form="llama_json"),
}


def said(role, text, **more):
    return {"role": role, "text": text, **more}


def call(name, arguments, identifier="call00001"):
    return {"id": identifier, "name": name, "arguments": arguments}


CALL = call("get_weather", {"city": "Köln", "days": 2})
LOOP = [said("user", "Weather in Köln?"), said("assistant", "", reasoning="I must look.", calls=[CALL]),
        said("tool", "It rains <|im_end|>.", call_id="call00001"), said("assistant", "Rain.", reasoning="So it is."),
        said("user", "And 1+2?")]
REQUESTS = {
    "question": {"messages": [said("user", "What is 47 + 86?")]},
    "system": {"messages": [said("system", "Answer briefly."), said("user", "Hi")]},
    "systems": {"messages": [said("system", "Answer briefly."), said("system", "In German."), said("user", "Hi")]},
    "empty system": {"messages": [said("system", ""), said("user", "Hi")]},
    "late system": {"messages": [said("system", "Answer briefly."), said("user", "Hi"), said("assistant", "Hello!"),
                                 said("system", "Now in German."), said("user", "Bye")]},
    "system at the end": {"messages": [said("user", "Hi"), said("system", "Answer in German.")]},
    "system before an answer": {"messages": [said("user", "Hi"), said("system", "Be brief."), said("assistant", "Hello!"),
                                             said("user", "Bye")]},
    "system alone": {"messages": [said("system", "Say something.")]},
    "users in a row": {"messages": [said("user", "Hi"), said("user", "Who are you?"), said("assistant", "A"),
                                    said("assistant", "machine."), said("user", "Oh")]},
    "ends with assistant": {"messages": [said("user", "Hi"), said("assistant", "Hello!")]},
    "tools": {"messages": [said("user", "Weather?")], "tools": [WEATHER, ADD]},
    "tools and system": {"messages": [said("system", "Use the tools."), said("user", "Weather?")], "tools": [ADD]},
    "tools and late system": {"messages": [said("user", "Weather?"), said("assistant", "Where?"),
                                           said("system", "Hurry."), said("user", "Here")], "tools": [ADD]},
    "loop": {"messages": LOOP, "tools": [ADD]},
    "loop without tools": {"messages": LOOP},
    "open loop": {"messages": LOOP[:3], "tools": [ADD]},
    "arguments as text": {"messages": [
        said("user", "1+2?"), said("assistant", "", calls=[call("add", '{"a": 1,  "b": 2.50}')]), said("tool", "3"),
        said("assistant", "It is 3."), said("user", "And 3+4?")], "tools": [ADD]},
    "no arguments": {"messages": [said("user", "Now?"), said("assistant", "", calls=[call("now", "")]), said("tool", "12"),
                                  said("user", "Oh")]},
    "text and call": {"messages": [said("user", "1+2?"), said("assistant", "Let me see.", calls=[call("add", {"a": 1, "b": None})]),
                                   said("tool", "3", call_id="call00001"), said("user", "Oh")], "tools": [ADD]},
    "two calls": {"messages": [
        said("user", "Both?"), said("assistant", "", calls=[CALL, call("add", {"a": 1, "s": "x\ny"}, "call00002")]),
        said("tool", "3", call_id="call00002"), said("tool", "Rain", call_id="call00001"), said("assistant", "Rain and 3."),
        said("user", "Oh")], "tools": [ADD]},
    "result without a call": {"messages": [said("user", "Hi"), said("tool", "42"), said("user", "Oh")]},
    "result and system": {"messages": LOOP[:3] + [said("system", "Be brief.")], "tools": [ADD]},
    "continued": {"messages": [said("user", "Hi"), said("assistant", "Hello, I")], "continues_last": True},
    "continued with tools": {"messages": [said("user", "Hi"), said("assistant", "Hello, I")], "continues_last": True,
                             "tools": [ADD]},
    "no opening": {"messages": [said("user", "Hi")], "opens_answer": False},
    "a variable": {"messages": [said("user", "Hi")], "variables": {"date_string": "26 Jul 2024"}},
    "thinking off": {"messages": LOOP[:1], "thinking": {"on": False}},
    "thinking on": {"messages": LOOP[:1], "thinking": {"on": True}},
    "limit": {"messages": LOOP[:1], "thinking": {"most_tokens": 100}},
    "limit of none": {"messages": LOOP[:1], "thinking": {"most_tokens": 0}},
    "off with effort": {"messages": LOOP[:1], "thinking": {"on": False, "effort": "high"}},
    "on with effort none": {"messages": LOOP[:1], "thinking": {"on": True, "effort": "none"}},
    "low with limit": {"messages": LOOP[:1], "thinking": {"effort": "low", "most_tokens": 5000}},
    **{f"effort {effort}": {"messages": LOOP[:1], "thinking": {"effort": effort}}
       for effort in ("none", "minimal", "low", "medium", "high", "xhigh", "max")},
}

# -- Calls in a text


def dumped(value):
    return json.dumps(value, ensure_ascii=False)


def as_object(arguments):
    if not isinstance(arguments, str):
        return arguments
    return json.loads(arguments or "{}")


def as_text(arguments):
    return (arguments or "{}") if isinstance(arguments, str) else dumped(arguments)


def lines(parts):
    return "\n".join(parts)


def xml_call(name, arguments):
    values = "".join(f"<parameter={k}>\n{v if isinstance(v, str) else dumped(v)}\n</parameter>\n" for k, v in as_object(arguments).items())
    return f"<tool_call>\n<function={name}>\n{values}</function>\n</tool_call>"


def dsml_call(name, arguments):
    values = "".join(f'<｜DSML｜parameter name="{k}" string="{"true" if isinstance(v, str) else "false"}">'
                     f'{v if isinstance(v, str) else dumped(v)}</｜DSML｜parameter>\n' for k, v in as_object(arguments).items())
    return f'<｜DSML｜invoke name="{name}">\n{values}</｜DSML｜invoke>\n'


def tagged_results(results):
    return lines(f"<tool_response>\n{r}\n</tool_response>" for r in results)


def outputs(results, between):
    return between.join(f"<｜tool▁output▁begin｜>{r}<｜tool▁output▁end｜>" for r in results)


def calls_between(calls, between):
    return "<｜tool▁calls▁begin｜>" + between.join(calls) + "<｜tool▁calls▁end｜>"


# What stands before calls, calls, results, a remark.
FORMS = {
    "tagged_json": ("\n", lambda cs: lines(f'<tool_call>\n{{"name": "{n}", "arguments": {as_text(a)}}}\n</tool_call>' for n, a in cs),
                    tagged_results, "Several calls may follow each other, each between tags of its own."),
    "tagged_xml": ("\n", lambda cs: lines(xml_call(n, a) for n, a in cs), tagged_results,
                   "Each argument has a block of its own: a text stands there as it is, any other value as JSON. Several calls may follow "
                   "each other, each between tags of its own."),
    "deepseek_v3": ("", lambda cs: calls_between([f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{n}\n```json\n{as_text(a)}\n```<｜tool▁call▁end｜>" for n, a in cs], "\n"),
                    lambda rs: "<｜tool▁outputs▁begin｜>" + outputs(rs, "\n") + "<｜tool▁outputs▁end｜>",
                    "Several calls may stand on lines of their own within the outer marks."),
    "deepseek_v31": ("", lambda cs: calls_between([f"<｜tool▁call▁begin｜>{n}<｜tool▁sep｜>{as_text(a)}<｜tool▁call▁end｜>" for n, a in cs], ""),
                     lambda rs: outputs(rs, ""), "Several calls may follow each other within the outer marks."),
    "dsml": ("\n\n", lambda cs: "<｜DSML｜function_calls>\n" + "".join(dsml_call(n, a) for n, a in cs) + "</｜DSML｜function_calls>",
             lambda rs: "<function_results>\n" + "".join(f"<result>{r}</result>\n" for r in rs) + "</function_results>",
             'A text is written as it is with string="true", any other value as JSON with string="false". Several calls may follow each '
             "other within the outer marks."),
    "llama_json": ("\n", lambda cs: lines(f'{{"name": "{n}", "parameters": {as_text(a)}}}' for n, a in cs), tagged_results,
                   "An answer that calls a tool is the call alone."),
}


def tools_text(tools, form):
    example = FORMS[form][1]([("NAME", {"PARAMETER": "VALUE"})])
    return ("# Tools\n\nYou can call tools. Each of these lines describes one, its parameters as a JSON schema:\n\n" +
            "".join(dumped(tool["function"]) + "\n" for tool in tools) +
            f"\nTo call a tool, write its name and its arguments like this:\n\n{example}\n\n{FORMS[form][3]} What the tools give back "
            "comes in the next turn. Call none but these, and answer without a call where none is needed.")


# -- Messages


def paragraphs(*texts):
    return "\n\n".join(text for text in texts if text)


def results_in_order(messages):
    """Results that all name a call of the message before them, in the order of those calls."""
    ordered = []
    for message in messages:
        ordered.append(message)
        first = len(ordered) - 1
        while first > 0 and ordered[first]["role"] == "tool":
            first -= 1
        ids = [c["id"] for c in ordered[first].get("calls", [])]
        results = ordered[first + 1:]
        following = len(ordered) < len(messages) and messages[len(ordered)]["role"] == "tool"
        if results and not following and all(r.get("call_id", "") in ids and r["call_id"] for r in results):
            ordered[first + 1:] = sorted(results, key=lambda r: ids.index(r["call_id"]))
    return ordered


def one_call_a_message(messages):
    """Each call with the result that has its id, or none; what is left of the results comes last."""
    split, i = [], 0
    while i < len(messages):
        message, i = messages[i], i + 1
        if len(message.get("calls", [])) < 2:
            split.append(message)
            continue
        results = []
        while i < len(messages) and messages[i]["role"] == "tool":
            results.append(messages[i])
            i += 1
        for n, c in enumerate(message["calls"]):
            split.append({**message, "calls": [c]} if n == 0 else said("assistant", "", calls=[c]))
            fitting = [r for r in results if r.get("call_id", "") in ("", c["id"]) or not c["id"]][:1]
            results = [r for r in results if r not in fitting]
            split += fitting
        split += results
    return split


def arranged(request, facts, arrangement, calls_in_text):
    """arrangement: 0 as it is, 1 later system messages by the user, 2 also neighbours joined, 3 also all of the system's."""
    before, calls_text, results_text, _ = FORMS[facts["form"]]
    in_text = lambda m: calls_in_text or not facts["calls"] or (m["text"] and not facts["beside"])
    messages = results_in_order(request["messages"])
    first = next((i for i, m in enumerate(messages) if m["role"] != "system"), len(messages))
    explained = tools_text(request["tools"], facts["form"]) if request.get("tools") and not facts["tools"] else ""
    system = paragraphs(*[m["text"] for m in messages[:first]], explained)
    if not facts["several"] and not calls_in_text:
        messages = messages[:first] + one_call_a_message(messages[first:])
    turns, pending, results = [], "", []
    if first or explained:
        if arrangement == 3:
            pending = system
        else:
            turns.append(said("system", system))
    for message in messages[first:] + [None]:
        if message and message["role"] == "tool" and not facts["results"]:
            results.append(message["text"])
            continue
        if message and message["role"] == "system" and arrangement > 0:
            pending = paragraphs(pending, message["text"])
            continue
        if results:
            turns.append(said("user", results_text(results)))
            results = []
        if pending and (not message or message["role"] != "user"):
            turns.append(said("user", pending))
            pending = ""
        if not message:
            break
        message = dict(message)
        if message.get("calls") and in_text(message):
            calls = [(c["name"], c["arguments"]) for c in message.pop("calls")]
            message["text"] += (before if message["text"] else "") + calls_text(calls)
        if message["role"] == "user":
            message["text"] = paragraphs(pending, message["text"])
            pending = ""
        turns.append(message)
    if arrangement < 2:
        return turns
    joined = []
    for turn in turns:
        if joined and joined[-1]["role"] == turn["role"] in ("user", "assistant") and not joined[-1].get("calls"):
            last = joined.pop()
            reasoning = last.get("reasoning", "") + turn.get("reasoning", "")
            turn = {**last, **turn, "text": paragraphs(last["text"], turn["text"]), **({"reasoning": reasoning} if reasoning else {})}
        joined.append(turn)
    return joined


def template_message(turn, facts):
    message = {"role": turn["role"], "content": turn["text"]}
    if turn.get("calls"):
        content, objects = facts["calls"]
        if not turn["text"] and content != EMPTY:
            message["content"] = None
            if content == ABSENT:
                del message["content"]
        arguments = as_object if objects else as_text
        message["tool_calls"] = [{"id": c["id"], "type": "function", "function": {"name": c["name"], "arguments": arguments(c["arguments"])}}
                                 for c in turn["calls"]]
    if "reasoning" in turn:
        message["thinking"] = message["reasoning_content"] = turn["reasoning"]
    if "call_id" in turn:
        message["tool_call_id"] = turn["call_id"]
    return message


def thinking(wishes, facts):
    """The template's variables and the limit of reasoning."""
    on, effort, most = wishes.get("on"), wishes.get("effort"), wishes.get("most_tokens")
    reads = effort in facts["efforts"]
    if on is None and (most == 0 or effort == "none" or (effort == "minimal" and not reads)):
        on = False
    elif on is None and effort:
        on = True
    variables = {"reasoning_effort": effort} if reads else {}
    if on is not None and facts["switch"]:
        variables |= {"enable_thinking": on, "thinking": on}
    if on is False:
        return variables, 0
    limits = [limit for limit in (most, 1024 if effort == "low" and not reads else None) if limit is not None]
    return variables, min(limits, default=None)


def request_case(source, tokens, request, facts):
    variables, limit = thinking(request.get("thinking", {}), facts)
    variables |= {**tokens, **request.get("variables", {})}
    if request.get("tools") and facts["tools"]:
        variables["tools"] = request["tools"]
    more = {"continue_final_message": True} if request.get("continues_last") else {}
    more["add_generation_prompt"] = request.get("opens_answer", not more)
    system = [m["text"].strip() for m in request["messages"] if m["role"] == "system"]
    if request.get("tools") and not facts["tools"]:
        system.append(tools_text(request["tools"], facts["form"]))
    first_text, first_error = None, None
    for calls_in_text in (False, True):
        for arrangement in range(4):
            if calls_in_text and not any(m.get("calls") for m in request["messages"]):
                break
            messages = [template_message(t, facts) for t in arranged(request, facts, arrangement, calls_in_text)]
            if more.get("continue_final_message") and messages[-1]["role"] != "assistant":
                continue
            result = outcome(lambda: render_jinja_template([messages], chat_template=source, **more, **variables)[0][0])
            if "error" in result:
                first_error = first_error or result
            elif all(text in result["output"] for text in system):
                return {**result, "limit": limit}
            else:
                first_text = first_text or result
    return {**first_text, "limit": limit} if first_text else first_error


def tiny_sources():
    """The templates of the models that ship; ask for no tokens."""
    read = lambda name: json.loads((ROOT / "models" / name / "tokenizer_config.json").read_text("utf-8"))["chat_template"]
    return {name: (read(name), {}) for name in ("tiny-r1", "tiny-qwen")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabularies", type=pathlib.Path, default=ROOT / "build/vocabularies")
    args = parser.parse_args()
    own = {name: (source, {"bos_token": BOS, "eos_token": EOS}) for name, source in TEMPLATES.items()}
    sources = family_sources() | vocabulary_sources(args.vocabularies) | tiny_sources() | own
    assert set(sources) == set(FACTS), set(sources) ^ set(FACTS)
    cases = [{"template": name, "request": title, **request_case(*source, request, FACTS[name])}
             for name, source in sources.items() for title, request in REQUESTS.items()]
    forms = {name: fact["form"] for name, fact in FACTS.items()}
    write("requests.json", {"provenance": {**provenance(), "script": "tools/goldens/chat_requests.py"}, "bos_token": BOS,
                            "eos_token": EOS, "templates": TEMPLATES, "forms": forms, "requests": REQUESTS, "cases": cases})


if __name__ == "__main__":
    main()
