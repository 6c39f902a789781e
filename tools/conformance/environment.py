"""What the scripts of this folder share: a Python environment of their own, and a server to try them on.

The public suites come from elsewhere and stay outside the repository; each script says where it looks for its own. What
it needs from PyPI goes into build/conformance/NAME, once for each version. Exit status: 0 all passed, 1 something
failed, 2 wrong usage or something is missing.
"""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = SOURCE / "build/conformance"
KEY = "sk-conformance-0123456789abcdef0123456789"


def give_up(why):
    print(f"{pathlib.Path(sys.argv[0]).name}: {why}", file=sys.stderr)
    sys.exit(2)


def enter(name, *packages):
    """Goes on in the environment `name`, which has these packages: makes it where it is missing or has others."""
    folder = BUILD / name
    if pathlib.Path(sys.prefix) == folder:
        return
    python, said = folder / "bin/python", folder / "packages.txt"
    if not said.exists() or said.read_text() != "\n".join(packages):
        print(f"installing {', '.join(packages)} into {folder.relative_to(SOURCE)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *packages], check=True)
        said.write_text("\n".join(packages))
    os.execv(python, [python, *sys.argv])


def program():
    """build/cachalot, or another one that CACHALOT_PROGRAM names."""
    path = pathlib.Path(os.environ.get("CACHALOT_PROGRAM", SOURCE / "build/cachalot"))
    return path if path.exists() else give_up(f"no {path}: build it with ./dev build, or set CACHALOT_PROGRAM")


def small_model():
    """The checkpoint that the suites are tried on: Qwen3's vocabulary and template, weights of no meaning."""
    path = pathlib.Path(os.environ.get("CACHALOT_TEST_MODELS", SOURCE / "build/test-models")) / "gqa"
    return path if path.exists() else give_up(f"no {path}: make it with tools/test_models.py, or set CACHALOT_TEST_MODELS")


@contextlib.contextmanager
def serving(model, *options, key=KEY, log=None):
    """The address of `cachalot serve MODEL` once it is ready. What it says goes to the file `log`."""
    with tempfile.TemporaryDirectory() as folder:
        command = [program(), "serve", model, "--port", "0", *options]
        if key:
            keys = pathlib.Path(folder) / "keys"
            keys.write_text(f"{key} conformance\n")
            keys.chmod(0o600)
            command += ["--api-key-file", keys]
        with subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True) as server:
            try:
                yield _address(server, log)
            finally:
                server.terminate()
                server.wait(timeout=60)
    if server.returncode != 0:
        raise RuntimeError(f"`cachalot serve` has ended with {server.returncode}")


@contextlib.contextmanager
def scripted(key=KEY):
    """The address of the server whose model does what prompts say (tests/server/scripted_server.cpp)."""
    path = os.environ.get("CACHALOT_SCRIPTED_SERVER", SOURCE / "build/tests/scripted_server")
    if not pathlib.Path(path).exists():
        give_up(f"no {path}: build the tests, or set CACHALOT_SCRIPTED_SERVER")
    with subprocess.Popen([path, small_model(), key], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()
            server.wait(timeout=60)


def _address(server, log):
    said = ""
    for line in server.stderr:
        said += line
        if ready := re.search(r"ready on (http://\S+)/v1", line):
            threading.Thread(target=_keep, args=(server.stderr, said, log), daemon=True).start()
            return ready[1]
    raise RuntimeError(f"`cachalot serve` has ended:\n{said}")


def _keep(stream, said, log):
    with open(log or os.devnull, "w") as file:
        file.write(said)
        for line in stream:
            file.write(line)
            file.flush()
