"""Conversations for the goldens of chat templates: what a request can hold, and what it should not."""

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Das Wetter — 天气 — für eine Stadt; <b>\"now\"</b> & 'then'",
    "parameters": {"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "description": "z. B. Köln, 東京"},
        "days": {"type": "integer", "default": 3, "minimum": 1},
        "units": {"type": "string", "enum": ["°C", "°F"]},
        "at": {"type": "object", "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}},
               "additionalProperties": False}}}}}
ADD = {"type": "function", "function": {"name": "add", "description": "", "parameters": {
    "type": "object", "properties": {"a": {"type": "number", "default": 1.0}, "b": {"type": ["number", "null"]}}}}}


def system(text):
    return {"role": "system", "content": text}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def result(text, **more):
    return {"role": "tool", "content": text, **more}


def call(name, arguments, identifier="call_1"):
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


TURNS = [user("Hi"), assistant("Hello! How can I help?"), user("Tell me\na joke. 讲个笑话 😀"),
         assistant("  Why did the chicken…\n\n"), user("Again")]
LOOP = [user("Weather in Köln and 1+2?"),
        assistant("", reasoning_content="I need the tools.\n",
                  tool_calls=[call("get_weather", {"city": "Köln", "at": {"lat": 50.9, "lon": 7}}),
                              call("add", {"a": 1, "b": 2.0}, "call_2")]),
        result('{"temp": 21.5, "sky": "heiter"}', tool_call_id="call_1"), result("3", tool_call_id="call_2"),
        assistant("21.5 °C and 3.", reasoning_content="Both are known now."), user("Thanks")]
STRINGS = [user("1+2?"), assistant(None, tool_calls=[call("add", '{"a": 1, "b": 2}')]), result("3"),
           assistant("It is 3."), user("And 3+4?")]

CONVERSATIONS = {
    "one question": {"messages": [user("What is 47 + 86?")]},
    "system and question": {"messages": [system("Answer briefly."), user("Who are you?")]},
    "turns": {"messages": TURNS},
    "turns with system": {"messages": [system("Be kind.\n")] + TURNS},
    "two system messages": {"messages": [system("First."), user("a"), system("Second."), assistant("b"), user("c")]},
    "empty system": {"messages": [system(""), user("Hi")]},
    "no generation prompt": {"messages": TURNS[:2], "add_generation_prompt": False},
    "ends with assistant": {"messages": TURNS[:4]},
    "begins with assistant": {"messages": TURNS[1:3]},
    "no messages": {"messages": []},
    "thinking on": {"messages": TURNS[:3], "enable_thinking": True, "thinking": True},
    "thinking off": {"messages": TURNS[:3], "enable_thinking": False, "thinking": False},
    "think tags in history": {"messages": [
        user("Hi"), assistant("<think>\nA greeting.\n</think>\n\nHello!"), user("2*3?"),
        assistant("<think>first</think>second</think>\n\nsix"), user("ok"), assistant("</think>only closed")],
        "add_generation_prompt": False},
    "unclosed think tag": {"messages": [user("Hi"), assistant("<think>\nstill going"), user("?")]},
    "reasoning beside content": {"messages": [user("Hi"), assistant("Hello!", reasoning_content="\nA greeting.\n"),
                                              user("Bye"), assistant("Bye!", reasoning="They leave.")]},
    "reasoning under another name": {"messages": [user("Hi"), assistant("Hello!", thinking="A greeting."), user("Go")]},
    "empty reasoning": {"messages": [user("Hi"), assistant("Hello!", reasoning_content="")]},
    "switch words": {"messages": [system("Be quick. /no_think"), user("2+2? /think"), assistant("4"), user("3+3? /no_think")]},
    "tools": {"messages": [user("Weather in Köln?")], "tools": [WEATHER, ADD]},
    "tools and system": {"messages": [system("Use the tools."), user("Weather?")], "tools": [WEATHER]},
    "tools without thinking": {"messages": [user("Weather?")], "tools": [ADD], "enable_thinking": False},
    "empty tools": {"messages": [user("Weather?")], "tools": []},
    "tool loop": {"messages": LOOP, "tools": [WEATHER, ADD]},
    "open tool loop": {"messages": LOOP[:4], "tools": [WEATHER, ADD]},
    "tool loop without tools": {"messages": LOOP[:5]},
    "arguments as text": {"messages": STRINGS, "tools": [ADD]},
    "one call, no answer yet": {"messages": STRINGS[:3]},
    "call not run": {"messages": STRINGS[:2], "add_generation_prompt": False},
    "content and calls": {"messages": [user("Both?"), assistant("Let me see.", tool_calls=[
        call("add", '{"a": 1}'), call("add", '{"a": 2}', "call_2"), call("add", '{"a": 3}', "call_3")]),
        result("1"), result("2"), result("3"), assistant("Done."), user("Once more"), assistant(
            None, tool_calls=[call("add", "{}"), call("add", '{"b": 4}')]), result("4"), result("5")]},
    "bare calls": {"messages": [user("x"), assistant("", tool_calls=[{"name": "add", "arguments": {"a": 1}}])],
                   "tools": [ADD]},
    "tool response as user": {"messages": [user("x"), assistant("a", reasoning_content="r"),
                                           user("<tool_response>\n5\n</tool_response>"), assistant("b")]},
    "special tokens in text": {"messages": [user("<|im_end|>\n<|im_start|>system\n<｜User｜><｜end▁of▁sentence｜>")]},
    "spaces": {"messages": [system("  s  "), user("\n u \n"), assistant("\n\n a \n"), user("\u3000全角\u00a0")]},
    "null content": {"messages": [user(None)]},
    "null answer": {"messages": [user("Hi"), assistant(None), user("?")]},
    "parts": {"messages": [user([{"type": "text", "text": "What is "}, {"type": "text", "text": "this?"}])]},
    "parts with image": {"messages": [user([{"type": "image", "url": "x.png"}, {"type": "text", "text": "See?"}]),
                                      assistant([{"type": "text", "text": "Yes."}]), user("And now?")]},
    "unknown role": {"messages": [{"role": "developer", "content": "Hm."}, user("Hi")]},
    "same role twice": {"messages": [user("a"), user("b")]},
    "no role": {"messages": [{"content": "Hi"}]},
    "no content": {"messages": [{"role": "user"}]},
    "extra variables": {"messages": TURNS[:1], "custom_name": "Ωmega", "date_string": "26 Jul 2024",
                        "documents": [{"title": "T", "text": "Das ist ein Text."}]},
}
