"""A Hugging Face hub for tests: what its client and ours ask for, from folders on the disk, and its failures by name.

    with Hub(repositories) as hub: hub.endpoint, hub.faults, hub.seen

A repository is a folder of files; `large` ones (safetensors, gguf, bin, or over 1 MB) are LFS files, which are redirected
to a second server on another port (the storage host, whose addresses are signed and end). Only what the hub's own client
needs to work is here; contract_test.py runs that client against it.
"""
import hashlib
import json
import re
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LARGE = (".safetensors", ".gguf", ".bin")


class File:
    def __init__(self, path, data):
        self.path, self.data = path, data
        self.large = path.endswith(LARGE) or len(data) > 1_000_000
        self.oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.etag = self.sha256 if self.large else self.oid

    @property
    def xet(self):  # the name of the bytes in another storage, which nobody here has
        return hashlib.sha256(b"xet" + self.data).hexdigest()

    def entry(self):
        entry = {"type": "file", "oid": self.oid, "size": len(self.data), "path": self.path}
        if self.large:
            entry["lfs"] = {"oid": self.sha256, "size": len(self.data), "pointerSize": 134}
            entry["xetHash"] = self.xet
        return entry


class Repository:
    def __init__(self, files, gated=False, revisions=()):  # gated: True, or "files": the list is open to all
        self.files = {path: File(path, data) for path, data in files.items()}
        self.gated = gated
        names = sorted((f.path, f.etag) for f in self.files.values())
        self.commit = hashlib.sha1(repr(names).encode()).hexdigest()
        self.revisions = {"main", self.commit, *revisions}


class Hub:
    """`repositories`: name → Repository. `renamed`: old name → new. `faults`: name → how often (-1: always) or a value."""

    def __init__(self, repositories, renamed=None, token=None, page=1000, tls=None):
        self.repositories, self.renamed, self.token, self.page = repositories, renamed or {}, token, page
        self.faults, self.seen, self.lock = {}, [], threading.Lock()
        self.hub = self._server(HubHandler, tls)
        self.storage = self._server(StorageHandler, tls)
        scheme = "https" if tls else "http"
        self.endpoint = f"{scheme}://localhost:{self.hub.server_port}"
        self.storage_url = f"{scheme}://localhost:{self.storage.server_port}"

    def _server(self, handler, tls):
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads, server.double = True, self
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        return server

    def __enter__(self):
        for server in (self.hub, self.storage):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        for server in (self.hub, self.storage):
            server.shutdown()
            server.server_close()

    def fault(self, name):
        """Whether this fault happens now; a counted one happens so often."""
        with self.lock:
            left = self.faults.get(name, 0)
            if isinstance(left, int) and not isinstance(left, bool) and left > 0:
                self.faults[name] = left - 1
            return left

    def requests(self, method=None, part=""):
        return [r for r in self.seen if (method is None or r["method"] == method) and part in r["path"]]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "double", ""

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except ConnectionError:  # whoever asked has gone away
            pass

    @property
    def double(self):
        return self.server.double

    def note(self):
        self.double.seen.append({"method": self.command, "path": self.path, "host": self.kind,
                                 "authorization": self.headers.get("Authorization"),
                                 "range": self.headers.get("Range"), "headers": dict(self.headers)})

    def answer(self, status, body=b"", headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, value, status=200, headers=None):
        self.answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def error(self, status, code=None, message=None, **headers):
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if code:
            fields["X-Error-Code"] = code
        if message:
            fields["X-Error-Message"] = message
        self.json({"error": message or code or "error"}, status, fields)

    def hang_up(self):
        self.close_connection = True
        self.connection.close()

    def content(self, file, headers):
        """The bytes of a file, or of a part of it; the faults of bodies are here."""
        d, data, status = self.double, file.data, 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        headers = {"Accept-Ranges": "bytes", **headers}
        first = 0
        if asked and not d.fault("no_ranges"):
            first, last = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
            if first > last or (file.large and d.fault("416")):
                return self.error(416, Content_Range=f"bytes */{len(data)}")
            status = 206
            total = len(data) + 5 if file.large and d.fault("lying_total") else len(data)
            headers["Content-Range"] = f"bytes {first}-{last}/{total}"
            data = data[first:last + 1]
        if file.large and d.fault("wrong_bytes"):
            data = bytes([data[0] ^ 1]) + data[1:] if data else data
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        lie = 7 if file.large and d.fault("lying_length") else 0
        self.send_header("Content-Length", str(len(data) + lie))
        self.end_headers()
        if self.command == "HEAD":
            return None
        if lie:
            self.wfile.write(data)
            return self.hang_up()
        if file.large and d.fault("cut"):
            self.wfile.write(data[:len(data) // 2])
            self.wfile.flush()
            return self.hang_up()
        if file.large and d.fault("stall"):
            self.wfile.write(data[:len(data) // 2])
            self.wfile.flush()
            time.sleep(30)
            return self.hang_up()
        slow = d.faults.get("bytes_per_s") if file.large else None
        if slow:
            for at in range(0, len(data), max(1, slow // 20)):
                self.wfile.write(data[at:at + max(1, slow // 20)])
                self.wfile.flush()
                time.sleep(0.05)
        else:
            self.wfile.write(data)
        return None


class HubHandler(Handler):
    kind = "hub"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        try:
            self.note()
            self.route()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def refused(self, name, repository):
        """Says so and is true where this client may not see a repository."""
        d, token = self.double, self.headers.get("Authorization", "")
        if d.fault("401"):
            self.error(401, message="Invalid credentials in Authorization header")
        elif d.fault("403"):
            self.error(403, message="Forbidden")
        elif repository is None:
            self.error(404 if token else 401, "RepoNotFound", "Repository not found")
        elif repository.gated and token != f"Bearer {d.token}" and ("/resolve/" in self.path or repository.gated != "files"):
            self.error(403 if token else 401, "GatedRepo", f"Access to model {name} is restricted.")
        else:
            return False
        return True

    def route(self):
        d = self.double
        address = urllib.parse.urlsplit(self.path)
        path, query = address.path, urllib.parse.parse_qs(address.query)
        if wait := d.fault("429"):
            return self.error(429, message="Too many", Retry_After=str(d.faults.get("retry_after", 1)) if wait else None)
        if d.fault("500"):
            return self.error(500, message="Internal error")
        if d.fault("503"):
            return self.error(503, message="Unavailable", Retry_After="1")
        if d.fault("no_hub"):
            return self.answer(200, b"<html>log in to this network</html>")
        for old, new in d.renamed.items():
            for prefix in (f"/api/models/{old}/", f"/{old}/resolve/"):
                if path.startswith(prefix):
                    return self.answer(307, headers={"Location": self.path.replace(old, new, 1)})
        if path == "/api/models":
            word = query.get("search", [""])[0].lower()
            like = [name for name in d.repositories if set(word.split("-")) & set(name.lower().split("/")[-1].split("-"))]
            return self.json([{"id": name} for name in like])
        for form, handle in ((r"/api/models/(.+?)/revision/(.+)", self.info), (r"/api/models/(.+?)/tree/([^/]+)", self.tree),
                             (r"/([^/]+/[^/]+|[^/]+)/resolve/([^/]+)/(.+)", self.resolve)):
            if match := re.fullmatch(form, path):
                name, *rest = [urllib.parse.unquote(part) for part in match.groups()]
                repository = d.repositories.get(name)
                return None if self.refused(name, repository) else handle(name, repository, *rest, query)
        return self.error(404, message="no such page")

    def info(self, name, repository, revision, _query):
        if revision not in repository.revisions:
            return self.error(404, "RevisionNotFound", "Invalid rev id")
        if self.double.fault("big_json"):
            return self.answer(200, b"[" + b" " * (70 << 20) + b"]")
        return self.json({"id": name, "modelId": name, "sha": repository.commit, "private": False,
                          "gated": "manual" if repository.gated else False, "tags": [], "downloads": 0,
                          "siblings": [{"rfilename": path} for path in repository.files]})

    def tree(self, name, repository, revision, query):
        if revision not in repository.revisions:
            return self.error(404, "RevisionNotFound", "Invalid rev id")
        d, entries = self.double, [file.entry() for file in repository.files.values()]
        if hostile := d.fault("hostile_name"):
            entries[0]["path"] = hostile
        if d.fault("changed"):
            for entry in entries:
                if "lfs" in entry:
                    entry["lfs"]["oid"] = "0" * 64
        entries += [{"type": "directory", "oid": "0" * 40, "size": 0, "path": folder}
                    for folder in {path.rsplit("/", 1)[0] for path in repository.files if "/" in path}]
        first = int(query.get("cursor", ["0"])[0])
        headers = {}
        if first + d.page < len(entries):
            rest = urllib.parse.urlencode({"recursive": "true", "cursor": first + d.page})
            headers["Link"] = f'<{d.endpoint}/api/models/{name}/tree/{revision}?{rest}>; rel="next"'
        return self.json(entries[first:first + d.page], headers=headers)

    def resolve(self, name, repository, revision, path, _query):
        d, file = self.double, repository.files.get(path)
        if revision not in repository.revisions:
            return self.error(404, "RevisionNotFound", "Invalid rev id")
        commit = {"X-Repo-Commit": repository.commit}
        if file is None:
            return self.error(404, "EntryNotFound", "Entry not found", X_Repo_Commit=repository.commit)
        etag = "f" * 64 if d.fault("other_etag") else file.etag
        if not file.large:
            return self.content(file, {**commit, "ETag": f'"{etag}"'})
        signed = f"{d.storage_url}/{file.sha256}?expires={time.time() + d.faults.get('signed_for', 3600)}&signature=secret"
        auth = f"{d.endpoint}/api/models/{name}/xet-read-token/{repository.commit}"
        return self.answer(302, headers={**commit, "X-Xet-Hash": file.xet, "Link": f'<{auth}>; rel="xet-auth"',
                                         "X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(file.data)),
                                         "Location": signed})


class StorageHandler(Handler):
    """Where the bytes of large files are; whoever has a signed address that has not ended gets them."""
    kind = "storage"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        try:
            self.note()
            d, address = self.double, urllib.parse.urlsplit(self.path)
            if d.fault("storage_500"):
                return self.error(500, message="storage is down")
            expires = float(urllib.parse.parse_qs(address.query).get("expires", ["0"])[0])
            if time.time() > expires:
                return self.answer(403, b"expired")
            for repository in d.repositories.values():
                for file in repository.files.values():
                    if file.large and address.path == "/" + file.sha256:
                        return self.content(file, {"ETag": '"storage"'})
            return self.answer(404, b"no such object")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        return None
