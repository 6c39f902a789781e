#!/usr/bin/env python3
"""Writes docs/openapi.json, the description of the server's API.

    tools/openapi/openapi.py [--check]

The fields of requests and what is said of them are those of docs/fields.md, which a test writes from the tables in the
code; fields.py says what kind of value each takes, answers.py what the server answers. A field without a type, a type
without a field and a table that belongs to no endpoint are errors. With --check nothing is written, but the file must be
what would be. Needs Python alone.
"""

import json
import pathlib
import re
import sys

import answers
import fields
from shapes import ref

SOURCE = pathlib.Path(__file__).resolve().parents[2]
FILE = SOURCE / "docs/openapi.json"

MESSAGE_TABLES = ["Fields of every answer", "Fields of every conversation", "Fields of messages"]
# The endpoints whose fields are in tables: what they are, the tables, the fields that must be there, the answer, whole
# and as events, and the shape of errors where it is not OpenAI's. Of two fields of one name the later table's counts.
GENERATING = {
    "/v1/chat/completions": dict(
        name="ChatRequest", summary="Answers a conversation, in OpenAI's older form",
        tables=["Fields of every answer", "Fields of every conversation", "Fields of chat and completions", "Fields of chat"],
        required=["messages"], answer="ChatCompletion", event="ChatCompletionChunk"),
    "/v1/completions": dict(
        name="CompletionRequest", summary="Goes on with a text",
        tables=["Fields of every answer", "Fields of chat and completions", "Fields of completions"],
        required=["prompt"], answer="Completion", event="CompletionChunk"),
    "/v1/embeddings": dict(
        name="EmbeddingRequest", summary="A vector for each input", tables=["Fields of embeddings"], required=["input"],
        answer="Embeddings", event=None),
    "/v1/responses": dict(
        name="ResponseRequest", summary="Answers a conversation, in OpenAI's newer form",
        tables=["Fields of every answer", "Fields of every conversation", "Fields of responses"],
        required=["input"], answer="Response", event="ResponseEvent"),
    "/v1/messages": dict(
        name="MessageRequest", summary="Answers a conversation, in Anthropic's form", tables=MESSAGE_TABLES,
        required=["max_tokens", "messages"], answer="MessageAnswer", event="MessageEvent", errors="MessageError"),
    "/v1/messages/count_tokens": dict(
        name="CountTokensRequest", summary="How many tokens a conversation has", tables=MESSAGE_TABLES,
        required=["messages"], answer="CountedTokens", event=None, errors="MessageError"),
}


def documented():
    """{heading: {field: (use, what is said of it)}} of docs/fields.md."""
    tables, table = {}, None
    for line in (SOURCE / "docs/fields.md").read_text().splitlines():
        if line.startswith("## "):
            table = tables.setdefault(line[3:], {})
        elif row := re.fullmatch(r"\| `([^`]+)` \| ([a-z ]+) \| (.*) \|", line):
            table[row[1]] = (row[2], row[3])
    return tables


def check_tables(tables):
    placed = {table for endpoint in GENERATING.values() for table in endpoint["tables"]}
    for heading in tables.keys() ^ placed:
        sys.exit(f"openapi.py: '{heading}' is {'of no endpoint' if heading in tables else 'not in docs/fields.md'}")
    for heading, table in tables.items():
        taken = {name for name, (use, _) in table.items() if use != "refused"}
        for name in taken ^ fields.TYPES[heading].keys():
            sys.exit(f"openapi.py: {name} of '{heading}' has {'no type' if name in taken else 'a type and is not taken'}")


def request_schema(endpoint, tables):
    """The fields that are taken. null counts as absent; any other field is refused."""
    properties = {}
    for heading in endpoint["tables"]:
        for name, schema in fields.TYPES[heading].items():
            if name not in endpoint["required"]:
                schema = {"anyOf": [*schema["anyOf"], {"type": "null"}]} if "anyOf" in schema else {
                    "anyOf": [schema, {"type": "null"}]}
            properties[name] = schema | {"description": tables[heading][name][1]}
    return {"type": "object", "properties": properties, "required": endpoint["required"], "additionalProperties": False}


def media(schema, kind="application/json"):
    return {kind: {"schema": schema}}


def events(schema):
    """A stream of such events: each has its JSON, or the word that ends the stream, as its data."""
    data = [{"const": "[DONE]"}, {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}]
    return {"type": "object", "required": ["data"], "properties": {"event": {"type": "string"}, "data": {"anyOf": data}}}


def operation(summary, name, ok, errors=("401", "503"), body=None, parameters=(), shape="Error"):
    operation = {"summary": summary, "operationId": name,
                 "responses": {"200": {"description": "what was asked for", "content": ok}}}
    if parameters:
        operation["parameters"] = list(parameters)
    if body:
        operation["requestBody"] = {"required": True, "content": media(body)}
    for status in errors:
        if shape != "Error" and status == "503":
            status = "529"
        operation["responses"][status] = {"$ref": f"#/components/responses/{shape}{status}"}
    return operation


ASKED = ("400", "401", "404", "413", "415", "429", "503")
LACKING = "the model is still loading, the server is ending, or has no room"
STATUSES = {"400": "the request is refused; the error names the field",
            "401": "a key is asked for, and none that is known was given",
            "404": "there is no such model or path", "413": "the body is too large", "415": "the body is not plain JSON",
            "429": "too many requests wait; Retry-After says when to come again",
            "503": LACKING, "529": LACKING}


def path_parameter(name):
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def query_parameter(name, schema):
    return {"name": name, "in": "query", "required": False, "schema": schema}


def kept_responses():
    """What can be asked of a response's input, and of one that is kept."""
    one, errors = path_parameter("id"), ("400", "401", "404", "503")
    ways = [query_parameter("order", {"enum": ["asc", "desc"]}), query_parameter("after", {"type": "string"}),
            query_parameter("limit", {"type": "integer", "minimum": 1, "maximum": 100})]
    return {
        "/v1/responses/input_tokens": {
            "post": operation("How many tokens the prompt of a response has", "count_input", media(ref("InputTokens")), ASKED,
                              ref("ResponseRequest"))},
        "/v1/responses/{id}": {
            "get": operation("A response that is kept", "response", media(ref("Response")), errors, parameters=[one]),
            "delete": operation("Forgets a response", "forget_response", media(ref("ResponseDeleted")), errors, parameters=[one])},
        "/v1/responses/{id}/input_items": {
            "get": operation("What a response was asked", "response_input", media(ref("InputItems")), errors,
                             parameters=[one, *ways])}}


def document():
    tables = documented()
    check_tables(tables)
    schemas, paths = dict(answers.ANSWERS) | fields.PARTS, {}
    for path, endpoint in GENERATING.items():
        schemas[endpoint["name"]] = request_schema(endpoint, tables)
        ok = media(ref(endpoint["answer"]))
        if endpoint["event"]:
            event = {"anyOf": [ref(endpoint["event"]), ref(endpoint.get("errors", "Error"))]}
            ok |= media(events(event), "text/event-stream")
        paths[path] = {"post": operation(endpoint["summary"], endpoint["name"], ok, ASKED, ref(endpoint["name"]),
                                        shape=endpoint.get("errors", "Error"))}
    schemas |= {"TokenizeRequest": fields.TOKENIZE, "DetokenizeRequest": fields.DETOKENIZE}
    key = {"security": []}
    not_ready = {"description": "not now", "content": media(ref("NotReady"))}
    paths |= kept_responses() | {
        "/v1/models": {"get": operation("The model, under each of its names", "models", media(ref("Models")))},
        "/v1/models/{id}": {"get": operation("One name of the model", "model", media(ref("Model")), ("401", "404", "503"),
                                             parameters=[path_parameter("id")])},
        "/tokenize": {"post": operation("The tokens of a text or a conversation", "tokenize", media(ref("Tokens")), ASKED,
                                        ref("TokenizeRequest"))},
        "/detokenize": {"post": operation("The text of tokens", "detokenize", media(ref("Text")), ASKED,
                                          ref("DetokenizeRequest"))},
        "/metrics": {"get": operation("Figures for Prometheus", "metrics", media({"type": "string"}, "text/plain"), ("401",))},
    }
    for path in ("/health", "/health/ready"):
        paths[path] = {"get": operation("Whether requests are answered", path[1:].replace("/", "_"), media(ref("Health")), ()) | key}
        paths[path]["get"]["responses"]["503"] = not_ready
    paths["/health/live"] = {"get": operation("Whether the server runs", "health_live", media(ref("Health")), ()) | key}
    return {
        "openapi": "3.1.0",
        "info": {"title": "cachalot serve", "version": "1",
                 "description": "Written by tools/openapi/openapi.py. A field that a schema does not have is refused; "
                                "docs/fields.md has those that are refused by name."},
        "servers": [{"url": "http://127.0.0.1:8080"}],
        "security": [{"bearer": []}, {"x-api-key": []}, {}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": {shape + status: {"description": text, "content": media(ref(shape))}
                          for shape in ("Error", "MessageError") for status, text in STATUSES.items()},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"},
                                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"}}}}


def lines(value, depth=5, indent=""):
    """JSON with a line for each member, so many levels deep."""
    if not isinstance(value, dict) or not value or depth == 0:
        return json.dumps(value, ensure_ascii=False)
    inner = indent + " "
    members = (f"{inner}{json.dumps(name)}: {lines(member, depth - 1, inner)}" for name, member in value.items())
    return "{\n" + ",\n".join(members) + f"\n{indent}}}"


def main():
    text = lines(document()) + "\n"
    if "--check" in sys.argv:
        if not FILE.exists() or FILE.read_text() != text:
            sys.exit("docs/openapi.json is not what the tables say: tools/openapi/openapi.py writes it anew")
    else:
        FILE.write_text(text)


if __name__ == "__main__":
    main()
