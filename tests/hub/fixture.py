"""What tests against the hub double share: repositories, the program as a user runs it, a terminal, a proxy.

    python3 -B …_test.py PROGRAM MODELS [NAME …]      MODELS: the folder of the models that ship
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


class HubTest(unittest.TestCase):
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

    def listed(self):
        done = self.run_program("list", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return {m["name"]: m for m in json.loads(done.stdout)["models"]}

    def gguf(self):
        out = self.folder / "made.gguf"
        if not out.exists():
            subprocess.run([PROGRAM, "quantize", str(MODELS / "tiny-qwen"), str(out), "--type", "q8_0"], check=True,
                           capture_output=True, env=self.environment())
        return out.read_bytes()

    def certificate(self, name="localhost", begin="20200101000000Z", end="20991231000000Z"):
        """A certificate that signs itself, and what serves with it."""
        key, request, certificate = (self.folder / f"{kind}.pem" for kind in ("key", "request", "certificate"))
        (self.folder / "index.txt").write_text("")
        (self.folder / "ca.cnf").write_text(
            f"[ca]\ndefault_ca=own\n[own]\ndatabase={self.folder}/index.txt\nnew_certs_dir={self.folder}\nrand_serial=yes\n"
            f"default_md=sha256\npolicy=any\nx509_extensions=of\n[any]\ncommonName=supplied\n[of]\nsubjectAltName=DNS:{name}\n")
        for words in (("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", "/CN=" + name),
                      ("ca", "-batch", "-selfsign", "-notext", "-config", self.folder / "ca.cnf", "-keyfile", key, "-in", request,
                       "-out", certificate, "-startdate", begin, "-enddate", end)):
            subprocess.run(["openssl", *words], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return certificate, context

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


def main(tests):
    """All tests of a class, some at once: they wait more than they compute."""
    names = sys.argv[3:] or unittest.defaultTestLoader.getTestCaseNames(tests)
    failed = 0

    def run(name):
        result = unittest.TestResult()
        started = time.time()
        tests(name).run(result)
        return name, result, time.time() - started

    with ThreadPoolExecutor(6) as pool:
        for name, result, seconds in pool.map(run, names):
            failures = [text for _, text in result.failures + result.errors]
            failed += bool(failures)
            print(f"{'FAILED' if failures else 'ok':8}{name} ({seconds:.1f} s)", *failures, sep="\n" if failures else "", flush=True)
    print(f"{len(names)} tests, {failed} failed")
    sys.exit(1 if failed else 0)
