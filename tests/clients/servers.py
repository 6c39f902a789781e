"""Servers that clients are tried against: one whose model is a script, and `cachalot serve` on real files.

The environment says where things are: CACHALOT_SCRIPTED_SERVER and CACHALOT_PROGRAM are programs, CACHALOT_TEST_MODELS
is the folder of the test checkpoints (build/test-models by default).
"""

import contextlib
import os
import pathlib
import re
import subprocess
import tempfile
import threading

SOURCE = pathlib.Path(__file__).resolve().parents[2]
KEY = "sk-clients-0123456789abcdef0123456789abcdef"


def test_models():
    return pathlib.Path(os.environ.get("CACHALOT_TEST_MODELS", SOURCE / "build/test-models"))


@contextlib.contextmanager
def scripted(context=4096, other_names=()):
    """The URL of a server that asks for KEY and does what prompts say (tests/server/scripted_server.cpp)."""
    program = [os.environ["CACHALOT_SCRIPTED_SERVER"], test_models() / "gqa", KEY, str(context), *other_names]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = server.stdout.readline().strip()
            if not address:
                raise RuntimeError(f"the scripted server has ended: {server.wait()}")
            yield address
        finally:
            server.stdin.close()
            server.wait(timeout=60)


@contextlib.contextmanager
def cachalot(model, *options):
    """The URL of `cachalot serve MODEL`, once its model is there."""
    with tempfile.TemporaryDirectory() as folder:
        keys = pathlib.Path(folder) / "keys"
        keys.write_text(f"{KEY} clients\n")
        keys.chmod(0o600)
        program = [os.environ["CACHALOT_PROGRAM"], "serve", model, "--port", "0", "--api-key-file", keys, *options]
        with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as server:
            try:
                said = ""
                for line in server.stderr:
                    said += line
                    if ready := re.search(r"ready on (http://\S+)/v1", line):
                        break
                else:
                    raise RuntimeError(f"`cachalot serve` has ended:\n{said}")
                reader = threading.Thread(target=server.stderr.read, daemon=True)  # or it would fill up
                reader.start()
                yield ready[1]
            finally:
                server.terminate()
                server.wait(timeout=60)
                if server.returncode != 0:
                    raise RuntimeError(f"`cachalot serve` has ended with {server.returncode}")
