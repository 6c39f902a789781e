"""Where Hugging Face's client finds its cache, and what it finds there: tests/goldens/hub_cache/expected.json.

The client reads its environment once, so every environment is a process of its own. A small cache is made by hand in a
temporary folder, described in the golden so that the test makes the same, and asked with the client's own functions.

    python tools/goldens/hub_cache.py        (huggingface_hub 2.4.0)
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

OUT = pathlib.Path(__file__).parents[2] / "tests/goldens/hub_cache/expected.json"

ENVIRONMENTS = [
    {"HOME": "/home/ann"},
    {"HOME": "/home/ann/"},
    {"HOME": "/"},
    {"HOME": ""},
    {"HOME": "/home/ann", "XDG_CACHE_HOME": "/var/cache/ann"},
    {"HOME": "/home/ann", "XDG_CACHE_HOME": "~/caches"},
    {"HOME": "/home/ann", "XDG_CACHE_HOME": ""},
    {"HOME": "/home/ann", "HF_HOME": "/data/hf"},
    {"HOME": "/home/ann", "HF_HOME": "~/hf", "XDG_CACHE_HOME": "/var/cache/ann"},
    {"HOME": "/home/ann", "HF_HOME": "~"},
    {"HOME": "/home/ann", "HF_HOME": "$HOME/hf"},
    {"HOME": "/home/ann", "HF_HOME": "${BASE}/hf/$UNKNOWN/${UNKNOWN}", "BASE": "/data"},
    {"HOME": "/home/ann", "HF_HOME": "/data/$BASE.$/${BASE", "BASE": "$HOME"},
    {"HOME": "/home/ann", "HF_HOME": "~no_such_user_here/hf"},
    {"HOME": "/home/ann", "HF_HOME": "~root/hf"},
    {"HOME": "/home/ann", "HF_HOME": ""},
    {"HOME": "/home/ann", "HF_HOME": "relative/hf"},
    {"HOME": "/home/ann", "HUGGINGFACE_HUB_CACHE": "/old/hub"},
    {"HOME": "/home/ann", "HUGGINGFACE_HUB_CACHE": "~/old"},
    {"HOME": "/home/ann", "HUGGINGFACE_HUB_CACHE": "/old/hub", "HF_HOME": "/data/hf"},
    {"HOME": "/home/ann", "HF_HUB_CACHE": "/new/hub", "HUGGINGFACE_HUB_CACHE": "/old/hub", "HF_HOME": "/data/hf"},
    {"HOME": "/home/ann", "HF_HUB_CACHE": "~/new/$BASE", "BASE": "b"},
    {"HOME": "/home/ann", "HF_HUB_CACHE": ""},
]

NAMES = ["gpt2", "Qwen/Qwen3-0.6B", "a", "a/b", "_a/b_", "a.b/c-d_e", "datasets/a/b", "/a", "a/", "a//b", ".a", "a.",
         "-a", "a-", "a--b", "a..b", "../a", "a/..", "~", "~/a", "a b", "a\nb", "a/b.git", "caf\u00e9/m", "", "a" * 96,
         "a" * 97, "a" * 96 + "/" + "b" * 96, "a$b", "a\\b", "a/.b", "a/b-"]

COMMITS = {name: (name * 40)[:40] for name in "abcd"}
# What a test makes: refs and the commits that have a config.json.
CACHE = {
    "refs": {"main": COMMITS["a"], "v1.0": COMMITS["b"], "refs/pr/3": COMMITS["c"], "feature/x": COMMITS["b"],
             "gone": COMMITS["d"]},
    "snapshots": [COMMITS["a"], COMMITS["b"], COMMITS["c"]],
}
REVISIONS = ["main", "v1.0", "refs/pr/3", "feature/x", "gone", "no-such", COMMITS["c"], COMMITS["c"][:8], COMMITS["d"]]


def folder_under(environment):
    code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    kept = {"PATH": os.environ["PATH"]}
    run = subprocess.run([sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True, check=True)
    return run.stdout.rstrip("\n")


def is_name(name):
    from huggingface_hub.utils import validate_repo_id
    try:
        validate_repo_id(name)
        return True
    except ValueError:
        return False


def commit_at(hub, revision):
    from huggingface_hub import try_to_load_from_cache
    found = try_to_load_from_cache("owner/name", "config.json", cache_dir=hub, revision=revision)
    return pathlib.Path(found).parent.name if isinstance(found, str) else None


def main():
    from huggingface_hub import __version__
    with tempfile.TemporaryDirectory() as hub:
        repository = pathlib.Path(hub) / "models--owner--name"
        for ref, commit in CACHE["refs"].items():
            path = repository / "refs" / ref
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(commit)
        for commit in CACHE["snapshots"]:
            snapshot, blob = repository / "snapshots" / commit, repository / "blobs" / commit
            snapshot.mkdir(parents=True)
            blob.parent.mkdir(exist_ok=True)
            blob.write_text("{}")
            (snapshot / "config.json").symlink_to(f"../../blobs/{commit}")
        revisions = {revision: commit_at(hub, revision) for revision in REVISIONS}
    golden = {
        "huggingface_hub": __version__,
        "folders": [{"environment": e, "folder": folder_under(e)} for e in ENVIRONMENTS],
        "names": {name: is_name(name) for name in NAMES},
        "cache": CACHE,
        "revisions": revisions,
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
