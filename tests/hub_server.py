"""A small Hub on 127.0.0.1 for tests: the real clients create repositories, upload, list and download there.

It keeps models, datasets and spaces, with their commits, branches and tags. It knows one user with one token, hides
private repositories from everybody else, and refuses what a test tells it to refuse. Xet storage, pull requests, pages
of long lists and redirects to other machines are left out: clients need HF_HUB_DISABLE_XET=1.
"""

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import parse_qs, unquote, urlsplit

from .hub_repos import Refused, Repo, metadata_of, now


_ID = r"(?P<id>[^/]+/[^/]+?)"
_REPO = rf"/api/(?P<kind>models|datasets|spaces)/{_ID}"
_PAGE = rf"(?:/(?P<kind>datasets|spaces))?/{_ID}"
_REV = r"(?P<rev>[^/]+)"
_ROUTES: list[tuple[str, re.Pattern, str, bool]] = []


class Hub(ThreadingHTTPServer):
    """The server; `serve_forever` in a thread starts it.

    Args:
        owner: name of the user.
        token: of the user; nobody else may write, or read what is private.
    """

    daemon_threads = True

    def __init__(self, owner: str = "owner", token: str = "hf_of_the_tests"):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.owner, self.token = owner, token
        self.repos: dict[str, Repo] = {}
        self.stored: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.refusals: list[tuple[str, Refused]] = []
        self.lock = Lock()

    def refuse(self, pattern: str, status: int, message: str) -> None:
        """Refuse from now on what fits a pattern.

        Args:
            pattern: regular expression, searched in "METHOD /path"; a new repository's path is followed by its id.
            status: for example 403.
            message: for the user.
        """
        self.refusals.append((pattern, Refused(status, message)))


def _route(methods: str, path: str, owner: bool = False):
    """Answer these methods on this path; `owner` asks for the user's token."""

    def add(function):
        _ROUTES.extend((method, re.compile(path), function.__name__, owner) for method in methods.split())
        return function

    return add


class _Handler(BaseHTTPRequestHandler):
    """Answers requests: every route is a method that returns JSON, or sends something else and returns None."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body leave in one packet, which spares 40 ms per answer
    disable_nagle_algorithm = True
    server: Hub

    def do_GET(self) -> None:
        self.body = self._read_body()
        path = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(path.query).items()}
        line = f"{self.command} {path.path}"
        if path.path.startswith("/api/repos/"):
            line += f" {self._wanted().id}"
        try:
            with self.server.lock:
                self.server.requests.append(line)
                for pattern, refused in self.server.refusals:
                    if re.search(pattern, line):
                        raise refused
                self._dispatch(path.path)
        except Refused as refused:
            headers = {"X-Error-Message": str(refused), "X-Error-Code": refused.code, "Retry-After": "0"}
            self._send(json.dumps({"error": str(refused)}).encode(), refused.status, headers)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _dispatch(self, path: str) -> None:
        method = "GET" if self.command == "HEAD" else self.command
        for known, pattern, name, needs_owner in _ROUTES:
            if known == method and (match := pattern.fullmatch(path)):
                found = {key: value and unquote(value) for key, value in match.groupdict().items()}
                is_owner = self.headers.get("Authorization") == f"Bearer {self.server.token}"
                if needs_owner and not is_owner:
                    raise Refused(401, "Invalid username or password.")
                if "id" in found:
                    sought = Repo(found.pop("kind", None) or "models", found.pop("id"))
                    repo = self.server.repos.get(sought.key)
                    if repo is None or (repo.is_private and not is_owner):
                        raise Refused(404 if is_owner else 401, "Repository not found", "RepoNotFound")
                    found["repo"] = repo
                answer = getattr(self, name)(**found)
                if answer is not None:
                    self._send(json.dumps(answer).encode(), headers={"Content-Type": "application/json"})
                return
        raise Refused(404, f"This Hub has no {self.command} {path}")

    @_route("GET", "/api/whoami-v2", owner=True)
    def whoami(self) -> dict:
        token = {"displayName": "tests", "role": "write"}
        user = {"type": "user", "name": self.server.owner, "fullname": "Owner", "isPro": False, "orgs": []}
        return {**user, "auth": {"type": "access_token", "accessToken": token}}

    @_route("POST", "/api/validate-yaml")
    def validate(self) -> dict:
        metadata_of(json.loads(self.body)["content"])
        return {"errors": [], "warnings": []}

    @_route("POST", "/api/repos/create", owner=True)
    def create(self) -> dict | None:
        repo = self._wanted()
        answer = {"url": f"{self.server.url}/{repo.key}", "id": repo.id, "name": repo.id}
        if repo.key in self.server.repos:
            answer["error"] = "You already created this repo"
            return self._send(json.dumps(answer).encode(), 409)
        repo.commit("main", {}, "initial commit")
        self.server.repos[repo.key] = repo
        return answer

    @_route("DELETE", "/api/repos/delete", owner=True)
    def delete(self) -> dict:
        if self.server.repos.pop(self._wanted().key, None) is None:
            raise Refused(404, "Repository not found", "RepoNotFound")
        return {}

    @_route("GET", rf"{_REPO}(?:/revision/{_REV})?")
    def info(self, repo: Repo, rev: str | None) -> dict:
        return repo.info(repo.sha(rev or "main"))

    @_route("PUT", rf"{_REPO}/settings", owner=True)
    def settings(self, repo: Repo) -> dict:
        repo.is_private = json.loads(self.body).get("visibility") == "private"
        return {"private": repo.is_private}

    @_route("GET", rf"{_REPO}/refs")
    def refs(self, repo: Repo) -> dict:
        return repo.refs()

    @_route("POST DELETE", rf"{_REPO}/(?P<what>branch|tag)/{_REV}", owner=True)
    def refer(self, repo: Repo, what: str, rev: str) -> dict:
        named = repo.branches if what == "branch" else repo.tags
        wanted = json.loads(self.body or b"{}")
        if self.command == "DELETE":
            repo.sha(rev)
            named.pop(rev)
        elif what == "branch":
            if rev in named:
                raise Refused(409, "Reference already exists")
            named[rev] = repo.sha(wanted.get("startingPoint") or "main")
        else:
            named[wanted["tag"]] = repo.sha(rev)
        return {}

    @_route("GET", rf"{_REPO}/commits/{_REV}")
    def commits(self, repo: Repo, rev: str) -> list[dict]:
        names = list(repo.snapshots)
        names = names[: names.index(repo.sha(rev)) + 1]
        known = {"message": "", "authors": [{"user": self.server.owner}], "date": now()}
        return [{"id": name, "title": repo.titles[name], **known} for name in reversed(names)]

    @_route("GET", rf"{_REPO}/tree/{_REV}(?:/(?P<path>.+))?")
    def tree(self, repo: Repo, rev: str, path: str | None) -> list[dict]:
        return repo.listing(repo.sha(rev), path or "", self.query.get("recursive", "").lower() in ("true", "1"))

    @_route("POST", rf"{_REPO}/paths-info/{_REV}")
    def paths_info(self, repo: Repo, rev: str) -> list[dict]:
        entries = repo.entries(repo.sha(rev))
        return [entries[path] for path in parse_qs(self.body.decode()).get("paths", []) if path in entries]

    @_route("POST", rf"{_REPO}/preupload/{_REV}", owner=True)
    def preupload(self, repo: Repo, rev: str) -> dict:
        return {"files": [repo.upload_mode(repo.sha(rev), file) for file in json.loads(self.body)["files"]]}

    @_route("POST", rf"{_PAGE}\.git/info/lfs/objects/batch", owner=True)
    def lfs_batch(self, repo: Repo) -> dict:
        objects = json.loads(self.body)["objects"]
        for wanted in objects:
            if wanted["oid"] not in self.server.stored:
                wanted["actions"] = {"upload": {"href": f"{self.server.url}/lfs/{wanted['oid']}"}}
        return {"transfer": "basic", "objects": objects}

    @_route("POST", rf"{_REPO}/commit/{_REV}", owner=True)
    def commit(self, repo: Repo, rev: str) -> dict:
        lines = [json.loads(line) for line in self.body.splitlines()]
        sha = repo.apply(rev, [(line["key"], line["value"]) for line in lines], self.server.stored)
        return {"commitUrl": f"{self.server.url}/{repo.key}/commit/{sha}", "commitOid": sha}

    @_route("GET", rf"{_PAGE}/resolve/{_REV}/(?P<path>.+)")
    def resolve(self, repo: Repo, rev: str, path: str) -> None:
        sha = repo.sha(rev)
        file = repo.snapshots[sha].get(path)
        headers = {"X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
        if file is None:
            headers |= {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            return self._send(b"Entry not found", 404, headers)
        headers["ETag"] = f'"{file.oid}"'
        if file.is_lfs:
            headers |= {"X-Linked-Etag": f'"{file.oid}"', "X-Linked-Size": str(len(file.content))}
        bounds = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not bounds:
            return self._send(file.content, 200, headers)
        first, size = int(bounds[1]), len(file.content)
        last = min(int(bounds[2] or size), size - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{size}" if first < size else f"bytes */{size}"
        return self._send(file.content[first : last + 1], 206 if first < size else 416, headers)

    @_route("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})")
    def store(self, oid: str) -> None:
        self.server.stored[oid] = self.body
        self._send(b"")

    def _wanted(self) -> Repo:
        """The repository that is to be created or deleted."""
        wanted = json.loads(self.body)
        id = f"{wanted.get('organization') or self.server.owner}/{wanted['name']}"
        return Repo(f"{wanted.get('type') or 'model'}s", id, wanted.get("visibility") == "private")

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args) -> None:
        """Print nothing; `Hub.requests` remembers."""
