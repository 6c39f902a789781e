#!/usr/bin/env python3
"""schemathesis against the server, by docs/openapi.json: what it makes up, right and wrong, must never fail the server.

    tools/conformance/fuzz_api.py [--examples N] [--seed N] [--model MODEL]

Thousands of requests go to `cachalot serve` on a tiny model and to the scripted server. No status of 500 and above, none
that the file does not have, answers as the file says them (events of streams, too: fuzz_checks.py), nothing taken that it
forbids, no answer that takes a minute. The file is made narrower first, to what this server and model have: the model's
name, its vocabulary, few answers at once.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.request

import environment

environment.enter("fuzz_api", "schemathesis==4.32.5", "jsonschema==4.26.0")

CONTEXT, MOST_ANSWERS = 256, 3
# Valid by the file, and yet refused for what the request says as a whole; keys, which the file says are optional; and
# Allow, which is the same for all paths that a route with an id has beneath it.
LEFT_OUT = ("positive_data_acceptance", "ignored_auth", "missing_required_header", "allow_header_conformance")


def narrowed(schema, vocabulary, name):
    """The document with this model's name, token ids that it has, and few answers at once."""
    if isinstance(schema, list):
        return [narrowed(one, vocabulary, name) for one in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: narrowed(value, vocabulary, name) for key, value in schema.items()}
    properties = schema.get("properties", {})
    if schema.get("additionalProperties") is False and "model" in properties and "id" not in properties:
        properties["model"] = {"enum": [name, None]}
    if properties.get("n", {}).get("anyOf", [{}])[0].get("maximum") == 128:
        properties["n"]["anyOf"][0]["maximum"] = MOST_ANSWERS
    if schema.get("type") == "array" and schema.get("items", {}).get("maximum") == 2**31 - 1:
        schema["items"]["maximum"] = vocabulary - 1
    return schema


def vocabulary_of(model):
    return json.loads((pathlib.Path(model) / "config.json").read_text())["vocab_size"]


def paths_of(url, document):
    """Those that the server has: the scripted one has some."""
    have = {}
    for path, methods in document["paths"].items():
        request = urllib.request.Request(url + path.replace("{id}", "x"), method="OPTIONS", headers={
            "Authorization": f"Bearer {environment.KEY}"})
        try:
            urllib.request.urlopen(request).read()
            have[path] = methods
        except urllib.error.HTTPError as error:
            if error.code != 404:
                have[path] = methods
    return have


def run(name, url, document, given, log):
    folder = environment.BUILD / "fuzz_logs" / name
    folder.mkdir(parents=True, exist_ok=True)
    document = document | {"paths": paths_of(url, document)}
    file = folder / "openapi.json"
    file.write_text(json.dumps(document))
    command = [
        pathlib.Path(sys.prefix) / "bin/schemathesis", "run", file, "--url", url, "-n", str(given.examples),
        "--seed", str(given.seed), "-H", f"Authorization: Bearer {environment.KEY}", "--exclude-checks", ",".join(LEFT_OUT),
        "--continue-on-failure", "--request-timeout", "60", "--no-color", "--output-sanitize", "false",
        "--suppress-health-check", "all", "--warnings", "off", "--report", "json", "--report-dir", folder]
    environ = os.environ | {"SCHEMATHESIS_HOOKS": "fuzz_checks", "FUZZ_OPENAPI": str(file),
                            "PYTHONPATH": str(pathlib.Path(__file__).resolve().parent)}
    said = folder / "said.txt"
    with open(said, "w") as out:
        ended = subprocess.run(command, stdout=out, stderr=out, env=environ, cwd=folder)
    text = said.read_text()
    cases = re.search(r"Test cases:\n(.*)", text)
    print(f"{name}: {len(document['paths'])} paths, {cases[1].strip() if cases else 'no cases'}")
    if ended.returncode:
        print("\n".join("  " + line for line in text.split("\n")[-200:]))
    return statuses(log) and ended.returncode == 0


def statuses(log):
    """What the server's own log says of each path; whether it has no 5xx."""
    if not log or not log.exists():
        return True
    counts = collections.defaultdict(collections.Counter)
    for line in log.read_text().splitlines():
        if line.startswith("{"):
            entry = json.loads(line)
            counts[re.sub(r"(/v1/(models|responses)/).*", r"\1…", entry.get("path", "no path"))][entry["status"]] += 1
    for path, of in sorted(counts.items()):
        print(f"  {path[:60]}: " + ", ".join(f"{count} × {status}" for status, count in sorted(of.items())))
    failed = sum(count for of in counts.values() for status, count in of.items() if status >= 500)
    if failed:
        print(f"  {failed} answers of 500 and above: {log}")
    return not failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--examples", type=int, default=50, help="requests made up for each path, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", default=environment.small_model(), help="a folder")
    given = parser.parse_args()
    document = json.loads((environment.SOURCE / "docs/openapi.json").read_text())
    here = lambda name: narrowed(document, vocabulary_of(given.model), name)  # noqa: E731
    (environment.BUILD / "fuzz_logs").mkdir(parents=True, exist_ok=True)
    log = environment.BUILD / "fuzz_logs/server.log"
    with environment.serving(given.model, "--model-name", "small", "--context", CONTEXT, log=log) as url:
        well = run("cachalot serve", url, here("small"), given, log)
    with environment.scripted() as url:
        well = run("scripted", url, here("scripted"), given, None) and well
    print("passed" if well else "failed")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
