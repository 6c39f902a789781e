#!/usr/bin/env python3
"""How many answers of a server hold well-formed calls of tools: 50 requests, each with two or three tools.

    bench/serve/calls.py http://127.0.0.1:8080/v1 [--seed 1] [--temperature 0] [--show]

A request asks for what one of its tools does. Its answer is *well-formed* when it has calls, all of them of tools that
were offered, with arguments that are a JSON object, hold what the tool requires and have the declared types; *right*
when it is the tool that was meant, too. Standard library only.
"""
import argparse
import collections
import json
import random
import urllib.request


def tool(name, description, required=None, **properties):
    return {"type": "function", "function": {"name": name, "description": description, "parameters": {
        "type": "object", "properties": properties, "required": list(properties) if required is None else required}}}


TEXT, NUMBER, WHOLE, FLAG = ({"type": t} for t in ("string", "number", "integer", "boolean"))
TOOLS = {t["function"]["name"]: t for t in (
    tool("get_weather", "The weather in a city", ["city"], city=TEXT, unit={"type": "string", "enum": ["celsius", "fahrenheit"]}),
    tool("get_time", "The time of day in a time zone", timezone=TEXT),
    tool("search_web", "Searches the web", ["query"], query=TEXT, results=WHOLE),
    tool("read_file", "Reads a file", path=TEXT),
    tool("write_file", "Writes text to a file", path=TEXT, content=TEXT),
    tool("add_numbers", "Adds numbers", numbers={"type": "array", "items": NUMBER}),
    tool("send_email", "Sends an e-mail", to=TEXT, subject=TEXT, body=TEXT),
    tool("set_alarm", "Sets an alarm", ["hour", "minute"], hour=WHOLE, minute=WHOLE, repeat=FLAG),
    tool("convert_currency", "Converts an amount of money", amount=NUMBER, source=TEXT, target=TEXT),
    tool("run_command", "Runs a command in a shell", command=TEXT),
)}
ASKED = {
    "get_weather": ["What is the weather like in {place}?", "Do I need an umbrella in {place} today?"],
    "get_time": ["What time is it in {place} now?"],
    "search_web": ["Search the web for the latest news about {place}.", "Find out on the web who is mayor of {place}."],
    "read_file": ["What does the file notes_{n}.txt say? Read it.", "Read the file /etc/host_{n}."],
    "write_file": ["Write 'hello number {n}' to the file out_{n}.txt.", "Save the text \"{place} – {n}\" as place.md."],
    "add_numbers": ["Add {n}, 4.5 and 19 with the tool.", "What is the sum of {n} and 1234? Use the tool."],
    "send_email": ["Send an e-mail to ann{n}@example.org with the subject 'Lunch' that asks her whether she comes."],
    "set_alarm": ["Set an alarm for 7:{n}.", "Wake me up at 6:{n} every day."],
    "convert_currency": ["How many euros are {n} US dollars? Convert them."],
    "run_command": ["List the files of the folder /tmp/{n} with a shell command.", "Run `uname -a` for me."],
}
PLACES = ["Paris", "São Paulo", "Köln", "東京", "New York", "Nairobi", "Reykjavík"]


def requests(seed, count):
    rng = random.Random(seed)
    for _ in range(count):
        meant = rng.choice(sorted(TOOLS))
        offered = rng.sample([t for t in sorted(TOOLS) if t != meant], rng.choice((1, 2))) + [meant]
        rng.shuffle(offered)
        text = rng.choice(ASKED[meant]).format(place=rng.choice(PLACES), n=rng.randrange(10, 60))
        yield meant, [TOOLS[t] for t in offered], text


def has_type(value, schema):
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return {"string": lambda: isinstance(value, str) and value in schema.get("enum", [value]), "number": lambda: number,
            "integer": lambda: number and value == int(value), "boolean": lambda: isinstance(value, bool),
            "array": lambda: isinstance(value, list) and all(has_type(v, schema["items"]) for v in value)}[schema["type"]]()


def fault_of(call, offered):
    """What is wrong with a call, or None."""
    tools = {t["function"]["name"]: t["function"]["parameters"] for t in offered}
    if call["function"]["name"] not in tools:
        return "no such tool"
    try:
        arguments = json.loads(call["function"]["arguments"])
    except ValueError:
        return "arguments are no JSON"
    parameters = tools[call["function"]["name"]]
    if not isinstance(arguments, dict):
        return "arguments are no object"
    if any(name not in arguments for name in parameters["required"]):
        return "a required argument is missing"
    if any(name in parameters["properties"] and not has_type(value, parameters["properties"][name])
           for name, value in arguments.items()):
        return "an argument has another type"
    return None


def ask(url, body):
    request = urllib.request.Request(url + "/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)["choices"][0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("url")
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--temperature", type=float, default=0)
    parser.add_argument("--show", action="store_true", help="each answer")
    o = parser.parse_args()
    with urllib.request.urlopen(o.url + "/models", timeout=60) as answer:
        model = json.load(answer)["data"][0]["id"]
    found, right = collections.Counter(), 0
    for meant, offered, text in requests(o.seed, o.requests):
        choice = ask(o.url, {"model": model, "messages": [{"role": "user", "content": text}], "tools": offered,
                             "temperature": o.temperature, "seed": o.seed, "max_tokens": 200})
        calls = choice["message"].get("tool_calls") or []
        faults = [f for f in (fault_of(c, offered) for c in calls) if f]
        found["no call" if not calls else faults[0] if faults else "well-formed"] += 1
        right += bool(calls) and not faults and all(c["function"]["name"] == meant for c in calls)
        if o.show:
            print(f"{text}\n  {meant}: {choice['finish_reason']} {json.dumps(choice['message'], ensure_ascii=False)}")
    print(json.dumps({"requests": o.requests, **found, "right": right}))


if __name__ == "__main__":
    main()
