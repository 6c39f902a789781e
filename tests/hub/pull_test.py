"""cachalot pull against the hub double: what comes, what is said, and every fault.

    python3 -B pull_test.py PROGRAM MODELS [NAME …]
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from fixture import BESIDE, BIG, PROGRAM, TINY, HubTest, Proxy, blob, main, wide_llama  # noqa: E402
from hub_double import Repository  # noqa: E402


class PullTest(HubTest):
    # -- what comes

    def test_fetches_what_is_needed_and_no_more(self):
        self.serve({**TINY, **BESIDE}, page=3)
        place = self.pulled()
        self.assertEqual(place, self.folder_of() / "snapshots" / self.repository.commit)
        self.assertEqual({p.name for p in place.iterdir()}, set(TINY) | {"LICENSE", "NOTICE"})
        for file in place.iterdir():
            self.assertEqual(file.read_bytes(), self.repository.files[file.name].data)
            self.assertTrue(os.readlink(file).startswith("../../blobs/"))
        self.assertEqual((self.folder_of() / "refs/main").read_text(), self.repository.commit)
        self.nothing_half_written()
        answer = self.run_program("run", "someone/tiny", "What is 47 + 86?")
        self.assertIn("133", answer.stdout, answer.stderr)

    def test_what_is_here_is_not_fetched_again(self):
        self.serve(TINY)
        self.pulled()
        self.hub.seen.clear()
        self.pulled()
        self.assertEqual(self.hub.requests(part="/resolve/"), [])
        self.assertEqual(self.storage(), [])

    def test_says_before_what_it_is(self):
        self.serve(wide_llama())
        done = self.pull()
        self.assertEqual(done.returncode, 0, done.stderr)
        for text in ("LlamaForCausalLM (family llama), 38.4 M parameters", "memory   needs", "a token reads 7", "tokens/s",
                     "on disk  76.9 MB, of which 76.9 MB are to be fetched", "on token ids only"):
            self.assertIn(text, done.stderr)

    def test_refuses_before_it_fetches_what_cannot_run(self):
        config = json.loads(TINY["config.json"])
        config["architectures"], config["model_type"] = ["MambaForCausalLM"], "mamba"
        self.serve({**BIG, "config.json": json.dumps(config).encode()})
        self.refused(says=["does not run here", "someone/tiny", "--anyway"])
        self.assertFalse(self.cache.exists())
        self.assertLess(sum(len(r["range"] or "") > 0 for r in self.hub.seen if r["host"] == "storage"), 3)
        self.pulled("--anyway")

    def test_large_headers_are_read_whole(self):
        header = json.dumps({f"tensor.{i}" + "x" * 200: {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]}
                             for i in range(12000)}).encode()
        weights = len(header).to_bytes(8, "little") + header + bytes(4 * 12000)
        self.serve({**TINY, "model.safetensors": weights})
        self.refused(says="does not run here")

    def test_shards_are_those_of_the_index(self):
        index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
        files = {"config.json": TINY["config.json"], "model.safetensors.index.json": json.dumps(index).encode(),
                 "model-00001-of-00002.safetensors": blob(1000, 1), "model-00002-of-00002.safetensors": blob(1000, 2),
                 "consolidated.safetensors": blob(2000, 3)}
        self.serve(files)
        place = self.pulled("--anyway")
        self.assertEqual({p.name for p in place.iterdir()}, set(files) - {"consolidated.safetensors"})

    def test_index_that_names_what_is_not_there(self):
        index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
        self.serve({"config.json": TINY["config.json"], "model.safetensors.index.json": json.dumps(index).encode(),
                    "model-00001-of-00002.safetensors": blob(1000)})
        self.refused(says=["lacks 1 of the files", "model-00002-of-00002"])
        self.refused("--anyway", says="lacks 1 of the files")

    def test_repositories_without_a_model(self):
        self.serve({"config.json": b"{}", "pytorch_model.bin": b"p"})
        self.refused(says=["no model that runs here", ".bin"])

    def test_renamed_repository(self):
        self.serve(TINY, name="new/tiny", renamed={"someone/tiny": "new/tiny"})
        place = self.pulled()
        self.assertIn("models--someone--tiny", str(place))

    def test_revisions(self):
        self.serve(Repository(TINY, revisions=("v1", "refs/pr/3")))
        self.pulled(model="someone/tiny@v1")
        self.assertEqual((self.folder_of() / "refs/v1").read_text(), self.repository.commit)
        self.pulled(model="someone/tiny@refs/pr/3")
        self.pulled(model="someone/tiny@" + self.repository.commit)
        self.assertFalse((self.folder_of() / "refs" / self.repository.commit).exists())
        self.refused(model="someone/tiny@v2", says="no such revision")

    def test_without_links(self):
        self.serve(TINY)
        place = self.pulled(HF_HUB_DISABLE_SYMLINKS="1")
        self.assertFalse(any(p.is_symlink() for p in place.iterdir()))
        self.hub.seen.clear()
        self.pulled(HF_HUB_DISABLE_SYMLINKS="1")
        self.assertEqual(self.hub.requests(part="/resolve/"), [])
        self.assertIn("133", self.run_program("run", "someone/tiny", "What is 47 + 86?").stdout)

    def test_signed_addresses_end_and_are_asked_for_again(self):
        self.serve(BIG)
        self.hub.faults.update(signed_for=1.0, bytes_per_s=12_000_000)
        self.pulled("--anyway", "--connections", "2")
        self.assertGreater(len(self.hub.requests("HEAD", "model.safetensors")), 1)

    # -- who is asked, and as whom

    def test_token_goes_to_its_hub_alone(self):
        self.serve(Repository(TINY, gated=True), token="hf_secret")
        self.refused(says=["accepted its conditions", self.hub.endpoint + "/someone/tiny", "HF_TOKEN"])
        self.refused(HF_TOKEN="hf_other", says="accepted its conditions")
        self.pulled(HF_TOKEN="hf_secret")
        storage = self.storage()
        self.assertTrue(storage)
        self.assertEqual([r["authorization"] for r in storage if r["authorization"]], [])

    def test_gated_files(self):
        self.serve(Repository(TINY, gated="files"), token="hf_secret")
        self.refused(says=["accepted its conditions", self.hub.endpoint + "/someone/tiny"])
        self.pulled(HF_TOKEN="hf_secret")

    def test_token_file(self):
        self.serve(Repository(TINY, gated=True), token="hf_secret")
        (self.folder / "home").mkdir()
        (self.folder / "home/token").write_text(" hf_secret\n")
        self.refused(HF_HUB_DISABLE_IMPLICIT_TOKEN="1", says="accepted its conditions")
        self.pulled()

    def test_token_that_cannot_be_one(self):
        self.serve(TINY)
        said = self.refused(HF_TOKEN="hf_\x01secret", says="cannot be a token")
        self.assertNotIn("secret", said)

    def test_missing_repository(self):
        self.serve(TINY, name="someone/tiny-r1")
        self.refused(model="someone/tiny-r2", says=["no repository 'someone/tiny-r2'", "someone/tiny-r1"])
        self.refused(model="someone/tiny-r2", HF_TOKEN="hf_x", says=["no repository", "token"])

    def test_forbidden(self):
        self.serve(TINY)
        for fault in ("401", "403"):
            self.hub.faults = {fault: -1}
            self.refused()

    def test_plain_http_elsewhere(self):
        self.serve(TINY)
        self.refused(HF_ENDPOINT="http://example.com", says="only https")
        self.refused(HF_ENDPOINT="https://user:word@example.com", says="no address")
        self.refused(HF_ENDPOINT="ftp://localhost")

    def test_nobody_there_says_what_is_here(self):
        self.serve(TINY)
        self.pulled()
        self.hub.__exit__()
        started = time.time()
        self.refused(model="someone/other", says=["on the disk are", "someone/tiny"])
        self.assertLess(time.time() - started, 60)
        self.refused(HF_HUB_OFFLINE="1", says=["HF_HUB_OFFLINE", "someone/tiny"])
        self.hub = None

    def test_something_that_is_no_hub(self):
        self.serve(TINY)
        self.hub.faults = {"no_hub": -1}
        self.refused(says="no listing of a repository")

    def test_endless_answers(self):
        self.serve(TINY)
        self.hub.faults = {"big_json": -1}
        self.refused(says="longer than it may be")

    def test_names_that_leave_the_folder(self):
        self.serve(TINY)
        for name in ("../../evil", "/etc/evil", "a/../../evil", "a//b", "a\\..\\b", "a\nb", ".", "x" * 300):
            self.hub.faults = {"hostile_name": name}
            self.refused(says="cannot be written inside a folder")
        self.assertFalse(self.cache.exists())

    # -- what happens on the way

    def interrupted(self, number, status):
        self.serve(BIG)
        self.hub.faults["bytes_per_s"] = 6_000_000
        process = subprocess.Popen([PROGRAM, "pull", "someone/tiny", "--anyway", "--connections", "3"],
                                   env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        pieces, connections = 7, 3
        while len(self.storage()) < connections + 2:  # two pieces are there
            self.assertIsNone(process.poll())
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        self.assertEqual(process.returncode, status, said)
        self.assertEqual(len(list(self.folder_of().glob("blobs/*.incomplete"))), 1)
        self.assertFalse((self.folder_of() / "refs/main").exists())
        self.assertIn("not whole", self.run_program("list").stdout)
        self.hub.faults.clear()
        self.hub.seen.clear()
        place = self.pulled("--anyway")
        self.assertLessEqual(len(self.storage()), pieces - 2)
        self.assertEqual((place / "model.safetensors").read_bytes(), BIG["model.safetensors"])
        self.assertEqual(list(self.folder_of().glob("blobs/*.incomplete")), [])
        return said

    def test_killed_downloads_go_on(self):
        self.interrupted(signal.SIGKILL, -9)

    def test_interrupted_downloads_go_on(self):
        self.assertIn("goes on where it was", self.interrupted(signal.SIGINT, 130))

    def test_two_at_once(self):
        self.serve(BIG)
        self.hub.faults["bytes_per_s"] = 20_000_000
        outcomes = []
        threads = [threading.Thread(target=lambda: outcomes.append(self.pull("--anyway"))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([o.returncode for o in outcomes], [0, 0], outcomes)
        self.assertEqual(len(self.storage()), 7)
        self.nothing_half_written()

    def passing(self, fault):
        self.serve(TINY)
        self.hub.faults = {fault: 2}
        self.pulled()
        self.assertEqual(self.hub.faults[fault], 0)
        self.nothing_half_written()

    def lasting(self, fault, says):
        self.serve(TINY)
        self.hub.faults = {fault: -1}
        self.refused(*(["--anyway"] if fault == "wrong_bytes" else []), says=says)
        self.assertFalse((self.folder_of() / "refs/main").exists())
        self.hub.faults = {}
        self.pulled()

    def test_cut_often(self):
        self.serve(BIG)
        self.hub.faults = {"cut": 60}
        self.pulled("--anyway")  # something came each time

    def test_stalled_connections(self):
        self.serve(TINY)
        self.hub.faults = {"stall": 1}
        started = time.time()
        self.pulled("--anyway", HF_HUB_DOWNLOAD_TIMEOUT="2")
        self.assertLess(time.time() - started, 15)

    def test_server_without_ranges(self):
        self.serve(BIG)
        self.hub.faults = {"no_ranges": -1}
        self.refused(says="only as a whole")
        place = self.pulled("--anyway")
        self.assertEqual((place / "model.safetensors").read_bytes(), BIG["model.safetensors"])

    def test_retry_after_is_kept(self):
        self.serve(TINY)
        self.hub.faults = {"429": 1, "retry_after": 3}
        started = time.time()
        self.pulled()
        self.assertGreater(time.time() - started, 2.9)

    def test_waits_too_long_are_not_waited(self):
        self.serve(TINY)
        self.hub.faults = {"429": -1, "retry_after": 7200}
        self.refused(says="7200 s")

    def test_damaged_blob_is_fetched_again(self):
        self.serve(TINY)
        self.pulled()
        blob_path = self.folder_of() / "blobs" / self.repository.files["model.safetensors"].etag
        os.truncate(blob_path, 100)
        self.pulled()
        self.nothing_half_written()

    def test_read_only_cache(self):
        self.serve(TINY)
        file = self.folder / "file"
        file.write_text("")
        self.refused(HF_HUB_CACHE=str(file / "cache"), says=["cannot be", "HF_HUB_CACHE"])

    def test_full_disk(self):
        self.serve(BIG)
        # A file may grow no further than that: the same as no room.
        line = f'ulimit -f 20000; exec "{PROGRAM}" pull someone/tiny --anyway'
        done = subprocess.run(["bash", "-c", line], env=self.environment(), capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("cannot be", done.stderr)
        self.nothing_half_written()
        self.pulled("--anyway")

    def test_no_room(self):
        self.serve(BIG)
        self.hub.repositories["someone/tiny"].files["model.safetensors"].entry = lambda: {
            "type": "file", "path": "model.safetensors", "oid": "0" * 40, "size": 1 << 45,
            "lfs": {"oid": "1" * 64, "size": 1 << 45, "pointerSize": 134}}
        self.refused("--anyway", says=["the disk has room for", "cachalot rm"])

    def test_tls(self):
        certificate, context = self.certificate()
        self.serve(TINY, tls=context)
        self.refused(says="SSL_CERT_FILE")
        self.pulled(SSL_CERT_FILE=str(certificate))

    def test_tls_of_another_host(self):
        certificate, context = self.certificate("elsewhere")
        self.serve(TINY, tls=context)
        self.refused(SSL_CERT_FILE=str(certificate), says="prove to be that host")
        self.assertEqual(self.hub.seen, [])

    def test_clock_that_is_wrong(self):
        for begin, end in (("20000101000000Z", "20010101000000Z"), ("20980101000000Z", "20991231000000Z")):
            certificate, context = self.certificate("localhost", begin, end)
            self.serve(TINY, tls=context)
            self.refused(SSL_CERT_FILE=str(certificate), says="when the clock of this machine is wrong")
            self.assertEqual(self.hub.seen, [])
            self.hub.__exit__()

    def test_proxies(self):
        certificate, context = self.certificate()
        self.serve(TINY, tls=context)
        with Proxy() as proxy:
            self.pulled(SSL_CERT_FILE=str(certificate), HTTPS_PROXY=proxy.address)
            self.assertIn(self.hub.endpoint[8:], proxy.asked)
            proxy.asked.clear()
            self.pulled(SSL_CERT_FILE=str(certificate), HTTPS_PROXY=proxy.address, NO_PROXY="localhost")
            self.assertEqual(proxy.asked, [])
        self.refused(model="someone/other", SSL_CERT_FILE=str(certificate), HTTPS_PROXY=proxy.address, says="on the disk are")

    def test_plain_loopback_takes_no_proxy(self):
        self.serve(TINY)
        self.pulled(http_proxy="http://localhost:1", ALL_PROXY="http://localhost:1")


def name_faults():
    """Faults that go away, which nobody needs to hear of, and those that last, with what is said then."""
    for fault in ("cut", "500", "503", "429", "storage_500", "lying_length"):
        setattr(PullTest, f"test_passing_{fault}", lambda self, fault=fault: self.passing(fault))
    for fault, says in (("416", "has less of"), ("wrong_bytes", "checksum is another"), ("500", "status 500"),
                        ("lying_total", "another part"), ("other_etag", "no longer the file"),
                        ("changed", "no longer the file"), ("429", "asked too often"), ("storage_500", "status 500")):
        setattr(PullTest, f"test_lasting_{fault}", lambda self, fault=fault, says=says: self.lasting(fault, says))


if __name__ == "__main__":
    name_faults()
    main(PullTest)
