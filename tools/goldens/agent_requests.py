#!/usr/bin/env python3
"""Makes tests/goldens/agents/*.json, what four agents ask of a server, out of recordings.

    ./dev conformance --record FOLDER       runs the agents and writes down each request, one file each
    tools/goldens/agent_requests.py FOLDER

The structure of a request, the names in it and its short values stay as they were. The prose is the agents' own and is
not repeated: every text of more than 200 bytes and every description becomes «N», which stands for N bytes of filler
(tests/server/agent_requests.h writes it), so that a request has its length. What the order to our scripted model says
stays, too. What names a machine, a person or a moment is made the same for all: folders, ids, dates. Versions:
VERSIONS below, as tests/conformance/package.json has them.
"""
import itertools
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "tests/goldens/agents"
VERSIONS = json.loads((ROOT / "tests/conformance/package.json").read_text())["dependencies"]

# File: the package, and requests: the name that a test knows, the run, and which of its requests.
FILES = {
    "claude_code": ("@anthropic-ai/claude-code", [
        ("first", "claude", "002"), ("results", "claude", "005"), ("second turn", "claude", "007"),
        ("a model it knows", "claude-known", "002"), ("a sub-agent", "claude-search", "sub-agent"),
        ("a tool it found, a failed call", "claude-search", "failed"), ("title", "claude-interactive", "title"),
        ("interactive", "claude-interactive", "safeguards"), ("count a text", "claude-search", "count text"),
        ("count a tool", "claude-search", "count tool")]),
    "codex": ("@openai/codex", [
        ("first", "codex", "001"), ("results", "codex", "004"), ("second turn", "codex", "005"),
        ("a namespace's function, two calls", "codex-namespace", "004"), ("a schema", "codex-schema", "001"),
        ("a model it knows, a tool without a form", "codex-known", "003")]),
    "qwen_code": ("@qwen-code/qwen-code", [
        ("first", "qwen", "001"), ("results", "qwen", "004"), ("second turn", "qwen", "005")]),
    "opencode": ("opencode-ai", [
        ("title", "opencode", "001"), ("first", "opencode", "002"), ("results", "opencode", "005"),
        ("second turn", "opencode", "006"), ("responses: title", "opencode-responses", "001"),
        ("responses: results", "opencode-responses", "005"), ("responses: second turn", "opencode-responses", "006"),
        ("messages: title", "opencode-messages", "001"), ("messages: results", "opencode-messages", "005"),
        ("messages: second turn", "opencode-messages", "006")]),
}
# Those that are found by what they hold, since requests at the same time come in any order.
FOUND = {
    "sub-agent": lambda r: "cc_is_subagent" in r["body"].get("system", [{"text": ""}])[0]["text"],
    "failed": lambda r: '"is_error": true' in json.dumps(r["body"]),
    "title": lambda r: "format" in r["body"].get("output_config", {}),
    "safeguards": lambda r: "safeguards" in r["body"],
    "count text": lambda r: "count_tokens" in r["path"] and not r["body"]["tools"],
    "count tool": lambda r: "count_tokens" in r["path"] and len(r["body"]["tools"]) == 1,
}
LONG = 200
ORDER = re.compile(r".* steps \[.*\] then .*")  # of ours; a line of its own
KEPT_HEADERS = re.compile(
    r"anthropic-|x-(?!api-key)|originator|user-agent|session-id|thread-id|accept$|content-type", re.IGNORECASE)


class Stable:
    """Replaces what differs between two runs: the same thing by the same thing, of the same length."""

    def __init__(self, work: str, home: str):
        self.work, self.home, self.ids, self.counter = work, home, {}, itertools.count(1)

    def counted(self, match: re.Match) -> str:
        whole = match.group(0)
        if whole not in self.ids:
            shape = re.sub(r"[0-9a-zA-Z]", "0", whole[match.end(1) - match.start():])
            number = str(next(self.counter))
            self.ids[whole] = match.group(1) + shape[:-len(number)] + number
        return self.ids[whole]

    def named(self, text: str) -> str:
        text = text.replace(self.work, "/home/user/project").replace(self.home, "/home/user")
        text = re.sub(r"/(?:tmp|root|work)/[\w./-]*", "/elsewhere", text)
        text = re.sub(r"()[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", self.counted, text)
        text = re.sub(r"()\b[0-9a-f]{32,64}\b", self.counted, text)
        text = re.sub(r"\b((?:call|toolu|chatcmpl-tool)_)[0-9a-zA-Z]{8,}", self.counted, text)
        text = re.sub(r"\b((?:msg|rs|fc|fco|ctc|ctco|at|ses|prt)_)[0-9a-zA-Z-]{8,}", self.counted, text)
        text = re.sub(r"()\ba[0-9a-f]{16}\b", self.counted, text)
        text = re.sub(r"(Chunk ID: )[0-9a-f]{6}", self.counted, text)
        return text

    def __call__(self, text: str) -> str:
        return re.sub(r"\b20\d\d-\d\d-\d\d\b", "2026-01-01", self.named(text))


def filler(text: str) -> str:
    return f"«{len(text.encode())}»"


def plain(value, stable: Stable, member: str = ""):
    """value without prose and without what names a machine."""
    if isinstance(value, dict):
        return {stable(key): plain(item, stable, key) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item, stable, member) for item in value]
    if not isinstance(value, str):
        return value
    if member == "description" or (len(value.encode()) > LONG and not ORDER.fullmatch(value)):
        return filler(value)
    return stable(value)


def header(value: str, stable: Stable) -> str:
    return filler(value) if value.startswith("{") else stable.named(value)


def request(recorded: dict, name: str, stable: Stable) -> dict:
    headers = {key.lower(): header(value, stable) for key, value in recorded["headers"] if KEPT_HEADERS.match(key)}
    return {"name": name, "method": recorded["method"], "path": recorded["path"], "headers": headers,
            "bytes": recorded["bytes"], "body": plain(recorded["body"], stable)}


def find(folder: pathlib.Path, run: str, which: str) -> dict:
    if which not in FOUND:
        return json.loads((folder / run / f"{which}.json").read_text())
    for path in sorted((folder / run).glob("*.json")):
        recorded = json.loads(path.read_text())
        if recorded["body"] and FOUND[which](recorded):
            return recorded
    sys.exit(f"{folder / run} has no request of the kind '{which}'")


def lines(value, indent: int = 0) -> str:
    """JSON with short things on one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + indent <= 120 or not value or not isinstance(value, (dict, list)):
        return flat
    space = " " * (indent + 1)
    if isinstance(value, list):
        return "[\n" + ",\n".join(space + lines(item, indent + 1) for item in value) + "\n" + " " * indent + "]"
    return ("{\n" + ",\n".join(f"{space}{json.dumps(key, ensure_ascii=False)}: {lines(item, indent + 1)}"
                               for key, item in value.items()) + "\n" + " " * indent + "}")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    GOLDENS.mkdir(parents=True, exist_ok=True)
    for file, (package, wanted) in FILES.items():
        stable = {}  # one for each run, so that a session's ids are the same in all of its requests
        recorded = [(name, run, find(folder, run, which)) for name, run, which in wanted]
        golden = {"recorded from": f"{package} {VERSIONS[package]}", "made by": "tools/goldens/agent_requests.py",
                  "requests": [request(r, name, stable.setdefault(run, Stable(r["work"], r["home"])))
                               for name, run, r in recorded]}
        (GOLDENS / f"{file}.json").write_text(lines(golden) + "\n")


if __name__ == "__main__":
    main()
