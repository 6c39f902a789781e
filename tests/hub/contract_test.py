"""The hub double serves Hugging Face's own client correctly, and the client and cachalot find what the other fetched.

    python3 -B contract_test.py PROGRAM MODELS      needs huggingface_hub; without it a line says so
"""
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from hub_double import Hub, Repository  # noqa: E402

try:
    import huggingface_hub
except ImportError:
    print("skipped: there is no huggingface_hub here")
    sys.exit(77)

PROGRAM, MODELS = sys.argv[1], Path(sys.argv[2])
TINY = {p.name: p.read_bytes() for p in sorted((MODELS / "tiny-r1").iterdir())}
TINY["additional/notes.txt"] = b"in a folder"

# What the client is made to do, in a process of its own: it reads the environment once.
CLIENT = """
import sys, huggingface_hub
from huggingface_hub import HfApi, hf_hub_download, snapshot_download, get_hf_file_metadata, hf_hub_url
{lines}
"""


class ContractTest(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="cachalot-contract-")
        self.folder = Path(self.temporary.name)
        self.repository = Repository(TINY, revisions=("v1",))
        self.gated = Repository({"config.json": b"{}"}, gated=True)
        self.hub = Hub({"someone/tiny": self.repository, "someone/gated": self.gated}, renamed={"old/tiny": "someone/tiny"},
                       token="hf_secret", page=3).__enter__()
        self.addCleanup(self.temporary.cleanup)
        self.addCleanup(self.hub.__exit__)

    def environment(self, **more):
        env = {k: v for k, v in os.environ.items()
               if not k.upper().startswith(("HF_", "HUGGING", "CACHALOT")) and "PROXY" not in k.upper()}
        env.update(HF_ENDPOINT=self.hub.endpoint, HF_HOME=str(self.folder / "home"), HF_HUB_DISABLE_TELEMETRY="1",
                   HF_HUB_CACHE=str(self.folder / "cache"), HF_HUB_DISABLE_PROGRESS_BARS="1", HF_HUB_DISABLE_XET="1", **more)
        return env

    def client(self, lines, **env):
        done = subprocess.run([sys.executable, "-c", CLIENT.format(lines=lines)], env=self.environment(**env),
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def pull(self, *words, **env):
        done = subprocess.run([PROGRAM, "pull", *words], env=self.environment(**env), capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return Path(done.stdout.strip())

    # -- the double is a hub to the client

    def test_client_downloads(self):
        place = Path(self.client("print(snapshot_download('someone/tiny'))"))
        for path, data in TINY.items():
            self.assertEqual((place / path).read_bytes(), data)
        self.assertEqual(place.name, self.repository.commit)
        self.assertEqual({r["authorization"] for r in self.hub.seen if r["host"] == "storage"}, {None})

    def test_client_lists(self):
        said = self.client("print(sorted(f.path for f in HfApi().list_repo_tree('someone/tiny', recursive=True)))")
        self.assertEqual(said, str(sorted([*TINY, "additional"])))
        self.assertTrue(self.hub.requests(part="cursor="))

    def test_client_reads_metadata(self):
        said = self.client("m = get_hf_file_metadata(hf_hub_url('someone/tiny', 'model.safetensors'))\n"
                           "print(m.commit_hash, m.etag, m.size)")
        file = self.repository.files["model.safetensors"]
        self.assertEqual(said, f"{self.repository.commit} {file.sha256} {len(file.data)}")

    def test_client_follows_renames(self):
        self.assertIn(self.repository.commit, self.client("print(hf_hub_download('old/tiny', 'config.json'))"))

    def test_client_understands_refusals(self):
        for call, error, token in (
                ("hf_hub_download('someone/gated', 'config.json')", "GatedRepoError", "hf_other"),
                ("hf_hub_download('someone/none', 'config.json')", "RepositoryNotFoundError", "hf_other"),
                ("hf_hub_download('someone/tiny', 'none.json')", "EntryNotFoundError", ""),
                ("hf_hub_download('someone/tiny', 'config.json', revision='none')", "RevisionNotFoundError", "")):
            lines = f"from huggingface_hub.errors import {error}\ntry:\n  {call}\n  print('came')\nexcept {error} as e:\n  print('refused')"
            self.assertEqual(self.client(lines, **({"HF_TOKEN": token} if token else {})), "refused", call)
        self.client("hf_hub_download('someone/gated', 'config.json')", HF_TOKEN="hf_secret")

    # -- one cache for both

    def test_what_the_client_fetched_is_not_fetched_again(self):
        self.client("snapshot_download('someone/tiny', revision='v1')\nsnapshot_download('someone/tiny')")
        self.hub.seen.clear()
        place = self.pull("someone/tiny")
        self.assertEqual([r["path"] for r in self.hub.seen if "/resolve/" in r["path"] or r["host"] == "storage"], [])
        answer = subprocess.run([PROGRAM, "run", "someone/tiny", "What is 47 + 86?"], env=self.environment(),
                                capture_output=True, text=True, timeout=60)
        self.assertIn("133", answer.stdout, answer.stderr)
        self.assertTrue(place.samefile(self.client("print(snapshot_download('someone/tiny', local_files_only=True))")))

    def test_blobs_of_the_client_are_used(self):
        self.client("hf_hub_download('someone/tiny', 'model.safetensors')")
        self.hub.seen.clear()
        self.pull("someone/tiny")
        self.assertEqual([r for r in self.hub.seen if r["host"] == "storage"], [])

    def test_what_we_fetched_the_client_finds_offline(self):
        place = self.pull("someone/tiny")
        for path in ("config.json", "model.safetensors", "tokenizer.json", "README.md"):
            found = self.client(f"print(hf_hub_download('someone/tiny', {path!r}))", HF_HUB_OFFLINE="1")
            self.assertEqual(Path(found), place / path)
        self.assertEqual(Path(self.client("print(snapshot_download('someone/tiny'))", HF_HUB_OFFLINE="1")), place)

    def test_what_we_fetched_the_client_does_not_fetch_again(self):
        self.pull("someone/tiny")
        self.hub.seen.clear()
        place = Path(self.client("print(snapshot_download('someone/tiny'))"))
        self.assertEqual([r for r in self.hub.seen if r["host"] == "storage"], [])
        self.assertEqual((place / "additional/notes.txt").read_bytes(), b"in a folder")

    def test_without_links_in_both_directions(self):
        self.pull("someone/tiny", HF_HUB_DISABLE_SYMLINKS="1")
        self.client("hf_hub_download('someone/tiny', 'model.safetensors')", HF_HUB_DISABLE_SYMLINKS="1", HF_HUB_OFFLINE="1")
        self.hub.seen.clear()
        self.client("snapshot_download('someone/tiny')", HF_HUB_DISABLE_SYMLINKS="1")
        self.assertEqual([r for r in self.hub.seen if r["host"] == "storage"], [])
        self.pull("someone/tiny", HF_HUB_DISABLE_SYMLINKS="1")
        self.assertEqual([r for r in self.hub.seen if r["host"] == "storage"], [])

    def test_the_client_scans_the_cache(self):
        self.pull("someone/tiny")
        said = self.client("from huggingface_hub import scan_cache_dir\ni = scan_cache_dir()\n"
                           "r = list(i.repos)[0]\nprint(len(i.warnings), r.repo_id, sorted(list(r.revisions)[0].refs))")
        self.assertEqual(said, "0 someone/tiny ['main']")

    def test_same_token_rules(self):
        (self.folder / "home").mkdir()
        for text, variables in ((" hf_secret\r\n", {}), ("hf_other", {"HF_TOKEN": "hf_secret\n"}),
                                ("hf_other", {"HUGGING_FACE_HUB_TOKEN": " hf_secret"}),
                                ("hf_other", {"HF_TOKEN": "", "HUGGING_FACE_HUB_TOKEN": "hf_secret"}),
                                ("hf_other", {"HF_TOKEN_PATH": "$HF_HOME/other"}), ("", {}),
                                ("hf_secret", {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"})):
            (self.folder / "home/token").write_text(text)
            (self.folder / "home/other").write_text("hf_secret")
            self.hub.seen.clear()
            self.client("try:\n  HfApi().model_info('someone/none')\nexcept Exception: pass", **variables)
            theirs = {r["authorization"] for r in self.hub.seen}
            self.hub.seen.clear()
            subprocess.run([PROGRAM, "pull", "someone/none"], env=self.environment(**variables), capture_output=True)
            self.assertEqual({r["authorization"] for r in self.hub.seen}, theirs, (text, variables))


if __name__ == "__main__":
    print("huggingface_hub", huggingface_hub.__version__)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=1)
