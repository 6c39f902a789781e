"""A check of schemathesis (see fuzz_api.py): the events of a stream are what the file says they are (contentSchema)."""

import json
import os
import pathlib

import jsonschema
import schemathesis

DOCUMENT = json.loads(pathlib.Path(os.environ["FUZZ_OPENAPI"]).read_text())


@schemathesis.check
def events_conform(context, response, case):
    if not "".join(response.headers.get("content-type", [])).startswith("text/event-stream"):
        return
    operation = DOCUMENT["paths"][case.path][case.method.lower()]
    schema = operation["responses"]["200"]["content"]["text/event-stream"]["schema"]
    whole = {"components": DOCUMENT["components"]} | schema["properties"]["data"]["anyOf"][1]["contentSchema"]
    text = response.content.decode()
    assert text.endswith("\n\n"), "the stream breaks off"
    for line in text.split("\n"):
        if line.startswith("data: ") and line != "data: [DONE]":
            jsonschema.Draft202012Validator(whole).validate(json.loads(line[6:]))
