#!/usr/bin/env python3
"""Open Responses against a server: the cases of its compliance test, asked in our own words.

    tools/conformance/open_responses.py [--openapi FILE] [--model MODEL | --url URL --key KEY --name NAME]

Its OpenAPI file (public/openapi/openapi.json of openresponses/openresponses) is no part of this repository: name it, or
set CACHALOT_OPENAPI. Without --model and --url the scripted server is asked (build/tests/scripted_server), which says
and calls what it is asked for; with --model, `cachalot serve MODEL`. Every answer and every event of a stream is held
against the file's schemas, and the order of events against the specification (responses_stream.py). At last the check
checks itself: answers that were right are made wrong in every way that counts here, and must be found so.
"""

import argparse
import contextlib
import copy
import json
import os
import pathlib
import sys
import urllib.error
import urllib.request

import environment

environment.enter("open_responses", "jsonschema==4.26.0")

import jsonschema  # noqa: E402

import responses_stream  # noqa: E402

WEATHER = {"type": "function", "name": "get_weather", "description": "The weather in a city",
           "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
ASK_WEATHER = ('What is the weather like in Lisbon? Look it up with the tool: '
               'calls [{"name": "get_weather", "arguments": {"city": "Lisbon"}}]')
PIXEL = ("data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5"
         "ErkJggg==")

# What is not asked for, and why. Where a request stands here, the server must refuse it by this name.
EXEMPT = {
    "image-input": ("the models here read text", "image"),
    "file-input": ("the models here read text", "file"),
    "websocket-*": ("seven cases of a transport that a server may have; this one has HTTP alone", None),
    "file-search": ("optional; a tool that the provider runs", None),
    "offline-web-search": ("optional; a tool that the provider runs", None),
    "compact-*": ("two cases of /responses/compact, of 2026-04-24; conversations are not compacted here", None),
}
# Where OpenAI and its clients differ from the file: these events are checked as the file's, and counted.
DIFFERENCES = {"response.reasoning_text.delta": "response.reasoning.delta",
               "response.reasoning_text.done": "response.reasoning.done"}


def message(role, content, **more):
    return {"type": "message", "role": role, "content": content, **more}


# name: the requests, each a function of the answers before it, and what the last answer must have.
CASES = {
    "basic-response": ([lambda _: {"input": [message("user", "In three words, say hello to you")]}], ["output", "completed"]),
    "assistant-phase": ([lambda _: {"input": [
        message("assistant", "Let me see what was stored.", phase="commentary"),
        message("assistant", "It was seven.", phase="final_answer"),
        message("user", "The number alone, please: say seven")]}], ["output", "completed"]),
    "streaming-response": ([lambda _: {"stream": True, "input": [message("user", "Count: say 1, 2, 3, 4, 5")]}], ["completed"]),
    "streaming-reasoning": ([lambda _: {"stream": True, "input": [message("user", "Think first: reason it is so")]}], ["completed"]),
    "system-prompt": ([lambda _: {"input": [
        message("system", "You talk like a sailor."), message("user", "Greet me: say ahoy")]}], ["output", "completed"]),
    "tool-calling": ([lambda _: {"tools": [WEATHER], "input": [message("user", ASK_WEATHER)]}], ["function_call"]),
    "tool-calling-streaming": ([lambda _: {"stream": True, "tools": [WEATHER], "input": [message("user", ASK_WEATHER)]}],
                               ["function_call", "call events"]),
    "function-call-roundtrip": ([
        lambda _: {"tools": [WEATHER], "input": ASK_WEATHER},
        lambda before: {"previous_response_id": before[0]["id"], "input": [
            {"type": "function_call_output", "call_id": call_of(before[0])["call_id"], "output": "18 degrees, sunny"}]}],
        ["output", "completed"]),
    "multi-turn": ([lambda _: {"input": [
        message("user", "I am called Ada."), message("assistant", "Good to meet you, Ada."),
        message("user", "How am I called? say Ada")]}], ["output", "completed"]),
    "previous-response-id": ([
        lambda _: {"input": "The word of the day is mango. say noted"},
        lambda before: {"previous_response_id": before[0]["id"], "input": "Which word was it? say mango"}],
        ["output", "completed"]),
    "image-input": ([lambda _: {"input": [message("user", [
        {"type": "input_text", "text": "What is this?"}, {"type": "input_image", "image_url": PIXEL, "detail": "auto"}])]}], []),
    "file-input": ([lambda _: {"input": [message("user", [
        {"type": "input_text", "text": "What is its title?"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjEK"}])]}], []),
}


def call_of(response):
    return next(item for item in response["output"] if item["type"] == "function_call")


class Schemas:
    def __init__(self, path):
        document = json.loads(pathlib.Path(path).read_text())
        self.components = document["components"]
        stream = document["paths"]["/responses"]["post"]["responses"]["200"]["content"]["text/event-stream"]
        self.of_event = {}
        for one in stream["schema"]["oneOf"]:
            name = one["$ref"].rsplit("/", 1)[1]
            self.of_event[self.components["schemas"][name]["properties"]["type"]["enum"][0]] = name

    def wrong(self, name, value):
        schema = {"$ref": f"#/components/schemas/{name}", "components": self.components}
        errors = jsonschema.Draft202012Validator(schema).iter_errors(value)
        best = [jsonschema.exceptions.best_match([error]) for error in errors]
        return [f"{name}{error.json_path[1:]}: {error.message[:200]}" for error in best]

    def wrong_event(self, event):
        kind = DIFFERENCES.get(event["type"], event["type"])
        if ":" in kind:
            return []  # an implementer's own
        if kind not in self.of_event:
            return [f"no such event in the file: {kind}"]
        return self.wrong(self.of_event[kind], event | {"type": kind})


def ask(url, key, name, body):
    """(status, bytes, content type) of a request."""
    request = urllib.request.Request(url.rstrip("/") + "/v1/responses", json.dumps({"model": name} | body).encode(), {
        "Content-Type": "application/json", "Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.status, answer.read(), answer.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers["Content-Type"]


def read(schemas, answer, streamed):
    """(the response, its events, what is wrong)."""
    status, body, content_type = answer
    if status != 200:
        return None, [], [f"HTTP {status}: {body.decode()[:300]}"]
    wrong, events = [], []
    if content_type.split(";")[0] != ("text/event-stream" if streamed else "application/json"):
        wrong.append(f"the content type is {content_type}")
    if streamed:
        events, wrong_form = responses_stream.parse(body)
        order = responses_stream.Order()
        for event in events:
            if found := schemas.wrong_event(event):
                wrong += found
            else:
                order.take(event)
        wrong += wrong_form + order.end()
        response = order.last
    else:
        response = json.loads(body)
        wrong += schemas.wrong("ResponseResource", response)
    return response, events, wrong


def lacking(response, events, wanted):
    if "output" in wanted and not response["output"]:
        yield "there is no output"
    if "completed" in wanted and response["status"] != "completed":
        yield f"the status is {response['status']}"
    if "function_call" in wanted and not any(item["type"] == "function_call" for item in response["output"]):
        yield "no item is a function_call"
    if "call events" in wanted:
        told = {event["type"] for event in events}
        told |= {f"{event['type']} {event['item']['type']}" for event in events if "item" in event}
        for kind in ("response.output_item.added function_call", "response.function_call_arguments.delta",
                     "response.function_call_arguments.done", "response.output_item.done function_call"):
            if kind not in told:
                yield f"no event {kind}"


def run_case(schemas, ask_server, case):
    """(what is wrong, the exchanges): the requests and answers, and whether they were streamed."""
    requests, wanted = CASES[case]
    before, exchanges = [], []
    for request in requests:
        try:
            body = request(before)
        except StopIteration:
            return ["the answer before has no function_call"], exchanges
        answer = ask_server(body)
        exchanges.append((answer, bool(body.get("stream"))))
        response, events, wrong = read(schemas, answer, bool(body.get("stream")))
        if wrong or response is None:
            return wrong or ["no response"], exchanges
        before.append(response)
    return list(lacking(response, events, wanted)), exchanges


def refused_by_name(answer, name):
    status, body, _ = answer
    return status == 400 and name in json.loads(body)["error"]["message"]


# --- the check of the check

def mutations(schemas, answer, streamed):
    """(how, the answer made wrong) for every way that counts. Long streams, as real models make them, are left out."""
    status, body, content_type = answer
    if not streamed:
        response = json.loads(body)
        for field in schemas.components["schemas"]["ResponseResource"]["required"]:
            less = {name: value for name, value in response.items() if name != field}
            yield f"without {field}", (status, json.dumps(less).encode(), content_type)
        yield "output of text", (status, json.dumps(response | {"output": "hello"}).encode(), content_type)
        return
    blocks = body.decode().split("\n\n")[:-1]
    events = [index for index, block in enumerate(blocks) if block.startswith("event: ")]
    if len(events) > 60:
        return
    made = lambda changed: (status, ("\n\n".join(changed) + "\n\n").encode(), content_type)  # noqa: E731
    yield "without [DONE]", made(blocks[:-1])
    yield "after [DONE]", made(blocks + [blocks[0]])
    for index in events:
        kind = blocks[index].split("\n")[0][7:]
        yield f"without event {index} ({kind})", made(blocks[:index] + blocks[index + 1:])
        yield f"event {index} twice ({kind})", made(blocks[:index] + [blocks[index]] + blocks[index:])
        yield f"event {index} under another name ({kind})", made(
            blocks[:index] + [blocks[index].replace(kind, "response.queued", 1)] + blocks[index + 1:])
        event = json.loads(blocks[index].split("data: ", 1)[1])
        for field in event:
            if field in ("obfuscation", "logprobs", "name"):
                continue  # optional
            less = {k: v for k, v in event.items() if k != field}
            yield f"event {index} without {field} ({kind})", made(
                blocks[:index] + [f"event: {kind}\ndata: {json.dumps(less)}"] + blocks[index + 1:])
        if "delta" in event:
            more = copy.deepcopy(event) | {"delta": event["delta"] + "!"}
            yield f"event {index} of another delta", made(
                blocks[:index] + [f"event: {kind}\ndata: {json.dumps(more)}"] + blocks[index + 1:])


def overlooked(schemas, exchanges):
    count, missed = 0, []
    for answer, streamed in exchanges:
        for how, wrong_answer in mutations(schemas, answer, streamed):
            count += 1
            if not read(schemas, wrong_answer, streamed)[2]:
                missed.append(how)
    return count, missed


def options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--openapi", default=os.environ.get("CACHALOT_OPENAPI"), help="the file of Open Responses")
    parser.add_argument("--model", help="serve this one")
    parser.add_argument("--url", help="a server that runs, up to /v1")
    parser.add_argument("--key", default=environment.KEY)
    parser.add_argument("--name", help="what --url calls its model")
    parser.add_argument("--only", nargs="*", choices=CASES, help="these cases")
    parser.add_argument("--record", type=pathlib.Path, help="a folder for the answers")
    given = parser.parse_args()
    if not given.openapi or not pathlib.Path(given.openapi).exists():
        environment.give_up("name the OpenAPI file of Open Responses: --openapi FILE, or CACHALOT_OPENAPI")
    return given


def main():
    given = options()
    schemas = Schemas(given.openapi)
    server = (contextlib.nullcontext(given.url) if given.url else
              environment.serving(given.model, "--model-name", "served", key=given.key) if given.model else
              environment.scripted(given.key))
    name = given.name or ("served" if given.model else "scripted")
    counts, kept, differences = dict(passed=0, failed=0, exempt=0), [], 0
    with server as url:
        for case in given.only or CASES:
            if case in EXEMPT:
                why, refused = EXEMPT[case]
                answer = ask(url, given.key, name, CASES[case][0][0]([]))
                wrong = [] if refused_by_name(answer, refused) else [f"not refused by name: {answer[1].decode()[:200]}"]
                outcome = "failed" if wrong else "exempt"
                print(f"{outcome:7} {case}: {why}")
            else:
                wrong, exchanges = run_case(schemas, lambda body: ask(url, given.key, name, body), case)
                outcome = "failed" if wrong else "passed"
                print(f"{outcome:7} {case}")
                if not wrong:
                    kept += exchanges
                for answer, _ in exchanges:
                    differences += sum(answer[1].count(f"event: {kind}\n".encode()) for kind in DIFFERENCES)
                if given.record:
                    given.record.mkdir(parents=True, exist_ok=True)
                    (given.record / f"{case}.txt").write_bytes(b"\n---\n".join(answer[1] for answer, _ in exchanges))
            counts[outcome] += 1
            for line in wrong[:20]:
                print(f"          {line}")
    for case, (why, _) in EXEMPT.items():
        if case not in CASES and not given.only:
            print(f"exempt  {case}: {why}")
    mutated, missed = overlooked(schemas, kept)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['exempt']} exempt by name and refused; "
          f"{differences} events under OpenAI's name where the file has another")
    print(f"the check itself: {mutated - len(missed)} of {mutated} answers made wrong were found")
    for how in missed:
        print(f"          overlooked: {how}")
    return 1 if counts["failed"] or missed else 0


if __name__ == "__main__":
    sys.exit(main())
