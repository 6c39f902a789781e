#!/usr/bin/env python3
"""llama.cpp's own server tests against `cachalot serve`, as far as they concern the public dialects.

    tools/conformance/llama_tests.py TESTS [FILE…] [-k WORDS]

TESTS is tools/server/tests of llama.cpp's sources (the sources of llama-cpp-python hold them), or CACHALOT_LLAMA_TESTS.
They stay where they are: llama_shim.py stands between them and our server, llama_reasons.py says which of them do not
concern us. Tests that pass, fail, are skipped, or fail because what they expect is llama.cpp's alone are told apart.
"""

import argparse
import collections
import json
import os
import pathlib
import subprocess
import sys

import environment

environment.enter("llama_tests", "pytest==8.3.5", "openai==2.14.0", "requests==2.32.3", "wget==3.2", "filelock==3.16.1",
                  "numpy")

FILES = ("test_chat_completion.py", "test_completion.py", "test_tool_call.py", "test_compat_anthropic.py",
         "test_compat_oai_responses.py", "test_embedding.py", "test_security.py", "test_tokenize.py", "test_basic.py",
         "test_stream.py", "test_infill.py", "test_ignore_eos.py", "test_ctx_shift.py", "test_metrics.py", "test_template.py")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tests", nargs="?", default=os.environ.get("CACHALOT_LLAMA_TESTS"), type=pathlib.Path)
    parser.add_argument("files", nargs="*", default=FILES)
    parser.add_argument("-k", dest="words", default="", help="only tests whose names fit, as for pytest")
    given = parser.parse_args()
    if not given.tests or not (given.tests / "utils.py").exists():
        environment.give_up("name the folder tools/server/tests of llama.cpp's sources, or set CACHALOT_LLAMA_TESTS")
    logs = environment.BUILD / "llama_logs"
    logs.mkdir(parents=True, exist_ok=True)
    outcomes = logs / "outcomes.json"
    outcomes.unlink(missing_ok=True)
    here = pathlib.Path(__file__).resolve().parent
    environ = os.environ | dict(
        LLAMA_TESTS=str(given.tests.resolve()), LLAMA_OUTCOMES=str(outcomes), LLAMA_LOGS=str(logs), PYTHONPATH=str(here),
        PYTHONDONTWRITEBYTECODE="1")
    with open(logs / "pytest.log", "w") as log:
        subprocess.run([sys.executable, "-m", "pytest", "-p", "llama_shim", "-p", "no:cacheprovider", "-k", given.words,
                        *(f"unit/{file}" for file in given.files)], cwd=given.tests, env=environ, stdout=log, stderr=log)
    if not outcomes.exists():
        environment.give_up(f"pytest did not run: {logs / 'pytest.log'}")
    return tell(json.loads(outcomes.read_text()), logs)


def tell(outcomes, logs):
    counts = collections.Counter(outcome for outcome, _ in outcomes.values())
    why = collections.Counter(reason for outcome, reason in outcomes.values() if outcome in ("skipped", "theirs"))
    for name, (outcome, reason) in outcomes.items():
        if outcome == "failed":
            print(f"failed  {name}\n          " + "\n          ".join(reason.split("\n")[:3]))
    for reason, count in why.most_common():
        print(f"{count:4} not ours: {reason}")
    files = collections.defaultdict(collections.Counter)
    for name, (outcome, _) in outcomes.items():
        files[name.split("::")[0]][outcome] += 1
    for file, of in files.items():
        print(f"{file}: " + ", ".join(f"{count} {outcome}" for outcome, count in of.items()))
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped, {counts['theirs']} that expect "
          f"what is llama.cpp's alone; all of it: {logs / 'pytest.log'}")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
