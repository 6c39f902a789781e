"""Models of the hub in other commands, at a terminal, in `cachalot list` and `cachalot rm`.

    python3 -B models_test.py PROGRAM MODELS [NAME …]
"""
import json
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from fixture import BIG, MODELS, TINY, HubTest, blob, main  # noqa: E402
from hub_double import Repository  # noqa: E402


class ModelsTest(HubTest):
    # -- several models in a repository

    def test_gguf_of_a_type(self):
        data = self.gguf()
        self.serve({"Tiny-Q8_0.gguf": data, "Tiny-F16.gguf": data + bytes(64), "mmproj-Tiny.gguf": b"GGUF", "README.md": b"x"})
        said = self.refused(says=["holds 2 models", "someone/tiny:q8_0"])
        self.assertIn("f16", said)
        self.refused(model="someone/tiny:q4_k_m", says=["no GGUF file there is of type", "'q8_0'"])
        place = self.pulled(model="someone/tiny:Q8_0")
        self.assertEqual(place.name, "Tiny-Q8_0.gguf")
        self.assertEqual({p.name for p in place.parent.iterdir()}, {"Tiny-Q8_0.gguf", "README.md"})
        self.assertEqual(self.pulled(model="someone/tiny:Tiny-Q8_0.gguf"), place)
        self.assertEqual(self.pulled("--yes"), place)
        answer = self.run_program("run", "someone/tiny:q8_0", "What is 2 + 2?", "--max-tokens", "2")
        self.assertEqual(answer.returncode, 0, answer.stderr)

    def test_gguf_beside_safetensors(self):
        self.serve({**TINY, "T-Q8_0.gguf": self.gguf(), "T-IQ2_XXS.gguf": b"GGUF" * 9})
        self.assertEqual(self.pulled(), self.folder_of() / "snapshots" / self.repository.commit)
        self.assertEqual(self.pulled(model="someone/tiny:q8_0").name, "T-Q8_0.gguf")

    def test_types_that_are_not_read(self):
        self.serve({"T-IQ2_XXS.gguf": b"GGUF" * 9, "T-Q8_0.gguf": b"GGUF" * 99})
        self.assertRegex(self.refused(), r"'iq2_xxs' +\d+ bytes +of a type that does not run here\n +'q8_0' .* fits the memory")

    def test_all_shards(self):
        files = {f"Q8_0/big-Q8_0-0000{i}-of-00003.gguf": blob(1000, i) for i in (1, 2, 3)}
        self.serve({**files, "Q4_0/big-Q4_0-00001-of-00001.gguf": blob(10)})
        place = self.pulled("--anyway", model="someone/tiny:q8_0")
        self.assertEqual(len(list(place.parent.iterdir())), 3)

    def test_rest_of_a_split_model(self):
        files = {f"big-Q8_0-0000{i}-of-00002.gguf": blob(1000, i) for i in (1, 2)}
        self.serve(files)
        place = self.pulled("--anyway", model="someone/tiny:q8_0")
        (place.parent / "big-Q8_0-00002-of-00002.gguf").unlink()
        self.assertFalse(self.listed()["someone/tiny:q8_0"]["whole"])
        done = self.run_program("inspect", "someone/tiny:q8_0", "--pull")
        self.assertIn("does not run here", done.stderr)  # looked at again: it is asked for

    # -- other commands

    def test_commands_fetch_only_when_told(self):
        self.serve(TINY)
        words = ("run", "someone/tiny", "What is 47 + 86?")
        done = self.run_program(*words)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cachalot pull", done.stderr)
        self.assertEqual(self.hub.seen, [])
        done = self.run_program(*words, "--pull")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("133", done.stdout)
        self.hub.seen.clear()
        self.assertEqual(self.run_program(*words, "--pull").returncode, 0)
        self.assertEqual(self.hub.seen, [])
        shutil.rmtree(self.cache)
        done = self.run_program("inspect", "someone/tiny", "--json", "--pull")
        self.assertTrue(json.loads(done.stdout)["runs"])

    # -- what is here

    def test_list(self):
        self.serve(Repository(TINY, revisions=("v1",)))
        self.pulled()
        models = self.listed()
        tiny = models["someone/tiny"]
        self.assertEqual((tiny["place"], tiny["family"], tiny["whole"]), ("hub cache", models["tiny-r1"]["family"], True))
        self.assertEqual(tiny["bytes"], sum(map(len, TINY.values())))
        self.assertEqual(models["tiny-r1"]["place"], "shipped")
        self.assertGreater(tiny["last_use"], time.time() - 3600)
        own = self.folder / "own"
        shutil.copytree(MODELS / "tiny-qwen", own / "mine")
        done = self.run_program("list", CACHALOT_MODELS=str(own))
        self.assertRegex(done.stdout, r"mine .*CACHALOT_MODELS")

    def test_rm(self):
        self.serve(TINY)
        self.pulled()
        done = self.run_program("rm", "someone/tiny")
        self.assertEqual(done.returncode, 1)
        self.assertIn("--yes", done.stderr)
        self.assertTrue(self.folder_of().exists())
        self.assertEqual(self.run_program("rm", "someone/tiny", "--yes").returncode, 0)
        self.assertFalse(self.folder_of().exists())
        self.assertEqual(self.run_program("rm", "someone/tiny", "--yes").returncode, 1)
        self.assertEqual(self.run_program("rm", "tiny-r1", "--yes").returncode, 1)

    def test_rm_keeps_what_others_use(self):
        self.serve(TINY)
        self.pulled()
        first = self.repository.commit
        self.hub.repositories["someone/tiny"] = second = Repository({**TINY, "README.md": b"new"})
        self.pulled()
        done = self.run_program("rm", "someone/tiny@" + first, "--yes")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("since snapshot " + second.commit[:12], done.stderr)
        self.nothing_half_written()
        self.assertEqual([p.name for p in (self.folder_of() / "snapshots").iterdir()], [second.commit])
        self.assertIn("133", self.run_program("run", "someone/tiny", "What is 47 + 86?").stdout)

    def test_rm_of_one_type(self):
        data = self.gguf()
        self.serve({"T-Q8_0.gguf": data, "T-F16.gguf": data + bytes(64)})
        self.pulled(model="someone/tiny:q8_0")
        self.pulled(model="someone/tiny:f16")
        self.assertEqual({n for n in self.listed() if "someone" in n}, {"someone/tiny:q8_0", "someone/tiny:f16"})
        self.assertEqual(self.run_program("rm", "someone/tiny:f16", "--yes").returncode, 0)
        self.assertEqual({n for n in self.listed() if "someone" in n}, {"someone/tiny:q8_0"})
        self.assertEqual(self.run_program("rm", "someone/tiny:q8_0", "--yes").returncode, 0)
        self.assertFalse(self.folder_of().exists())

    # -- at a terminal

    def test_questions_at_a_terminal(self):
        self.serve(TINY)
        words = ("run", "someone/tiny", "What is 47 + 86?")
        status, seen, asked = self.at_terminal(*words, answer="n")
        self.assertEqual((status, asked, self.hub.seen), (1, True, []), seen)
        status, seen, asked = self.at_terminal(*words, answer="y")
        self.assertEqual((status, asked), (0, True), seen)
        self.assertIn("133", seen)
        status, seen, asked = self.at_terminal(*words, answer="n")
        self.assertEqual((status, asked), (0, False), seen)
        status, seen, asked = self.at_terminal("rm", "someone/tiny", answer="n")
        self.assertEqual((status, asked), (1, True), seen)
        self.assertEqual(self.at_terminal("rm", "someone/tiny", answer="y")[0], 0)
        self.assertFalse(self.folder_of().exists())

    def test_choice_at_a_terminal(self):
        data = self.gguf()
        self.serve({"T-Q8_0.gguf": data, "T-F16.gguf": data + bytes(64)})
        status, seen, asked = self.at_terminal("pull", "someone/tiny", answer="y")
        self.assertEqual((status, asked), (0, True), seen)
        self.assertIn("fetch someone/tiny:q8_0", seen)
        self.assertTrue(list(self.folder_of().glob("snapshots/*/T-Q8_0.gguf")))

    def test_bar_at_a_terminal(self):
        self.serve(BIG)
        self.hub.faults["bytes_per_s"] = 6_000_000
        status, seen, _ = self.at_terminal("pull", "someone/tiny", "--anyway", answer="")
        self.assertEqual(status, 0, seen)
        self.assertRegex(seen, r"\[#+-+\] \d+ % [\d.]+ MB of 52.4 MB, [\d.]+ MB/s, 0:\d\d left")


if __name__ == "__main__":
    main(ModelsTest)
