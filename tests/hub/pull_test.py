"""cachalot pull, list and rm against the hub double: what comes, what is said, and every fault.

    python3 -B pull_test.py PROGRAM MODELS [NAME …]      MODELS: the folder of the models that ship
"""
import hashlib
import json
import os
import pty
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from hub_double import Hub, Repository  # noqa: E402

PROGRAM, MODELS = sys.argv[1], Path(sys.argv[2])
MIB = 1 << 20


def shipped(name):
    return {p.name: p.read_bytes() for p in sorted((MODELS / name).iterdir())}


def blob(size, seed=1):
    return random.Random(seed).randbytes(size)


def wide_llama():
    """A model whose weights are more than caches hold: one narrow layer, and very many words."""
    width, words = 64, 600_000
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width, "intermediate_size": width,
              "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "vocab_size": words,
              "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True,
              "torch_dtype": "bfloat16", "hidden_act": "silu", "eos_token_id": 1}
    shapes = {"model.embed_tokens.weight": [words, width], "model.norm.weight": [width]}
    layer = "model.layers.0."
    for name in ("input_layernorm", "post_attention_layernorm"):
        shapes[f"{layer}{name}.weight"] = [width]
    for name in ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up", "mlp.down"):
        shapes[f"{layer}{name}_proj.weight"] = [width, width]
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    return {"config.json": json.dumps(config).encode(),
            "model.safetensors": len(text).to_bytes(8, "little") + text + bytes(end)}


TINY = shipped("tiny-r1")
# What a repository holds beside a model, and nobody needs.
BESIDE = {"pytorch_model.bin": b"pickle" * 100, "onnx/model.onnx": b"onnx" * 100, "vision/model.safetensors": b"v" * 100,
          "original/consolidated.pth": b"p" * 100, "LICENSE": b"free", "NOTICE": b"", ".gitattributes": b"* lfs"}
BIG = {"config.json": TINY["config.json"], "model.safetensors": blob(50 * MIB + 12345)}


class Proxy:
    """A proxy of HTTP that only connects."""

    def __enter__(self):
        self.asked = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://localhost:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.connect, args=(client,), daemon=True).start()

    def connect(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        target = head.split()[1].decode()
        self.asked.append(target)
        server = socket.create_connection(("127.0.0.1", int(target.rsplit(":", 1)[1])))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=self.copy, args=(server, client), daemon=True)
        back.start()
        self.copy(client, server)
        back.join()

    @staticmethod
    def copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class PullTest(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="cachalot-hub-test-"))
        self.cache = self.folder / "cache"
        self.hub = None

    def tearDown(self):
        if self.hub:
            self.hub.__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)

    def serve(self, files, name="someone/tiny", **settings):
        repository = files if isinstance(files, Repository) else Repository(files)
        self.hub = Hub({name: repository}, **settings).__enter__()
        self.repository = repository
        return self.hub

    def environment(self, **more):
        env = {k: v for k, v in os.environ.items()
               if not k.upper().startswith(("HF_", "HUGGING", "CACHALOT", "SSL_CERT", "CURL_")) and "PROXY" not in k.upper()}
        env.update(HF_HUB_CACHE=str(self.cache), HF_HOME=str(self.folder / "home"), TMPDIR=str(self.folder))
        if self.hub:
            env["HF_ENDPOINT"] = self.hub.endpoint
        env.update({k: v for k, v in more.items() if v is not None})
        return env

    def run_program(self, *words, **env):
        return subprocess.run([PROGRAM, *words], env=self.environment(**env), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120)

    def pull(self, *words, model="someone/tiny", **env):
        return self.run_program("pull", model, *words, **env)

    def pulled(self, *words, **more):
        done = self.pull(*words, **more)
        self.assertEqual(done.returncode, 0, done.stderr)
        return Path(done.stdout.strip())

    def refused(self, *words, says=(), **more):
        done = self.pull(*words, **more)
        self.assertEqual(done.returncode, 1, done.stderr + done.stdout)
        for text in [says] if isinstance(says, str) else says:
            self.assertIn(text, done.stderr)
        self.nothing_half_written()
        return done.stderr

    def storage(self):
        return [r for r in self.hub.seen if r["host"] == "storage"]

    def folder_of(self, name="someone/tiny"):
        return self.cache / ("models--" + name.replace("/", "--"))

    def nothing_half_written(self):
        """Whatever is under a blob's name is that blob, and no temporary folder stays."""
        for path in self.cache.rglob("blobs/*"):
            if path.name.endswith(".incomplete"):
                continue
            data = path.read_bytes()
            names = {hashlib.sha256(data).hexdigest(), hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()}
            self.assertIn(path.name, names)
        for link in self.cache.rglob("snapshots/*/*"):
            self.assertTrue(link.exists(), link)
        self.assertEqual([p.name for p in self.folder.glob("cachalot-*")], [])

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
        self.refused(says=["does not run here", "--anyway"])
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

    def test_rest_of_a_split_model(self):
        files = {f"big-Q8_0-0000{i}-of-00002.gguf": blob(1000, i) for i in (1, 2)}
        self.serve(files)
        place = self.pulled("--anyway", model="someone/tiny:q8_0")
        (place.parent / "big-Q8_0-00002-of-00002.gguf").unlink()
        self.assertFalse(self.listed()["someone/tiny:q8_0"]["whole"])
        done = self.run_program("inspect", "someone/tiny:q8_0", "--pull")
        self.assertIn("does not run here", done.stderr)  # looked at again: it is asked for

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

    def certificate(self, name="localhost"):
        key, certificate = self.folder / "key.pem", self.folder / "certificate.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
                        "-days", "2", "-subj", "/CN=" + name, "-addext", "subjectAltName=DNS:" + name],
                       check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return certificate, context

    def test_tls_of_another_host(self):
        certificate, context = self.certificate("elsewhere")
        self.serve(TINY, tls=context)
        self.refused(SSL_CERT_FILE=str(certificate), says="prove to be that host")
        self.assertEqual(self.hub.seen, [])

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

    # -- at a terminal

    def at_terminal(self, *words, answer):
        """What a person sees, who answers the question."""
        child, terminal = pty.fork()
        if child == 0:
            os.execve(PROGRAM, [PROGRAM, *words], {**self.environment(), "TERM": "dumb"})
        seen, asked = b"", False
        while True:
            try:
                more = os.read(terminal, 4096)
            except OSError:  # it has ended
                break
            seen += more
            if not asked and b"[y/N]" in seen:
                asked = True
                os.write(terminal, answer.encode() + b"\n")
            if not more:
                break
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), seen.decode(errors="replace"), asked

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

    # -- several models in a repository

    def gguf(self):
        out = self.folder / "made.gguf"
        if not out.exists():
            subprocess.run([PROGRAM, "quantize", str(MODELS / "tiny-qwen"), str(out), "--type", "q8_0"], check=True,
                           capture_output=True, env=self.environment())
        return out.read_bytes()

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

    def test_all_shards(self):
        files = {f"Q8_0/big-Q8_0-0000{i}-of-00003.gguf": blob(1000, i) for i in (1, 2, 3)}
        self.serve({**files, "Q4_0/big-Q4_0-00001-of-00001.gguf": blob(10)})
        place = self.pulled("--anyway", model="someone/tiny:q8_0")
        self.assertEqual(len(list(place.parent.iterdir())), 3)

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

    def listed(self):
        done = self.run_program("list", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return {m["name"]: m for m in json.loads(done.stdout)["models"]}

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


def name_faults():
    """Faults that go away, which nobody needs to hear of, and those that last, with what is said then."""
    for fault in ("cut", "500", "503", "429", "storage_500", "lying_length"):
        setattr(PullTest, f"test_passing_{fault}", lambda self, fault=fault: self.passing(fault))
    for fault, says in (("416", "has less of"), ("wrong_bytes", "checksum is another"), ("500", "status 500"),
                        ("lying_total", "another part"), ("other_etag", "no longer the file"),
                        ("changed", "no longer the file"), ("429", "asked too often"), ("storage_500", "status 500")):
        setattr(PullTest, f"test_lasting_{fault}", lambda self, fault=fault, says=says: self.lasting(fault, says))


def main():
    """All tests, some at once: they wait more than they compute."""
    name_faults()
    names = sys.argv[3:] or unittest.defaultTestLoader.getTestCaseNames(PullTest)
    failed = 0

    def run(name):
        result = unittest.TestResult()
        started = time.time()
        PullTest(name).run(result)
        return name, result, time.time() - started

    with ThreadPoolExecutor(6) as pool:
        for name, result, seconds in pool.map(run, names):
            failures = [text for _, text in result.failures + result.errors]
            failed += bool(failures)
            print(f"{'FAILED' if failures else 'ok':8}{name} ({seconds:.1f} s)", *failures, sep="\n" if failures else "", flush=True)
    print(f"{len(names)} tests, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
