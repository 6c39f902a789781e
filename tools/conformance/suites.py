#!/usr/bin/env python3
"""All public suites, one after the other; what each says is told as it says it.

    tools/conformance/suites.py

Each is a script of this folder that runs alone, too: open_responses.py (CACHALOT_OPENAPI), llama_tests.py
(CACHALOT_LLAMA_TESTS), fuzz_api.py and lm_eval_task.py. Where a suite's own files are not here it is left out, and that is
told. build/cachalot and build/tests/scripted_server are tried, or what CACHALOT_PROGRAM and CACHALOT_SCRIPTED_SERVER name.
"""

import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SUITES = ("open_responses.py", "llama_tests.py", "fuzz_api.py", "lm_eval_task.py")
OUTCOMES = {0: "passed", 1: "failed", 2: "left out"}


def main():
    ends = {}
    for suite in SUITES:
        print(f"--- {suite}", flush=True)
        ends[suite] = subprocess.run([sys.executable, HERE / suite]).returncode
    print("--- all")
    for suite, end in ends.items():
        print(f"{OUTCOMES.get(end, f'ended with {end}'):8} {suite}")
    return 0 if set(ends.values()) <= {0, 2} else 1


if __name__ == "__main__":
    sys.exit(main())
