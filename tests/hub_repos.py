"""What the Hub of the tests keeps: repositories with files, commits, branches and tags, all in memory."""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

import yaml


LFS_SUFFIXES = (".parquet", ".arrow", ".safetensors", ".bin", ".npz", ".png", ".edf")
LFS_BYTES = 1_000_000
"""Files with these endings or of this size are stored through LFS, everything else with the commit."""


class Refused(Exception):
    """What the Hub answers instead: status, message, and the code by which clients choose their exception."""

    def __init__(self, status: int, message: str, code: str = ""):
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class File:
    """A file in a commit."""

    content: bytes
    is_lfs: bool = False

    @property
    def oid(self) -> str:
        """The name of the content: SHA-256 in LFS, else what git calls the blob."""
        if self.is_lfs:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@dataclass
class Repo:
    """A repository: its commits, oldest first, and which of them branches and tags name."""

    kind: str
    id: str
    is_private: bool = False
    snapshots: dict[str, dict[str, File]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its name among all, as in the address of its page: "owner/model", "datasets/owner/name"."""
        return self.id if self.kind == "models" else f"{self.kind}/{self.id}"

    def commit(self, branch: str, files: dict[str, File], title: str) -> str:
        """Add a commit to a branch and tell its name."""
        sha = hashlib.sha1(f"{self.kind}/{self.id} {len(self.snapshots)}".encode()).hexdigest()
        self.snapshots[sha], self.titles[sha], self.branches[branch] = files, title, sha
        return sha

    def sha(self, revision: str) -> str:
        """Name the commit that a branch, a tag or (the beginning of) a commit's own name stands for."""
        commits = [sha for sha in self.snapshots if len(revision) >= 7 and sha.startswith(revision)]
        sha = self.branches.get(revision) or self.tags.get(revision) or next(iter(commits), None)
        if sha is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha

    @property
    def files(self) -> dict[str, bytes]:
        """What the main branch holds: content by path."""
        return {path: file.content for path, file in self.snapshots[self.branches["main"]].items()}

    def entries(self, sha: str) -> dict[str, dict]:
        """Describe files and folders of a commit, by path, as the API lists them."""
        known = {"lastCommit": {"id": sha, "title": self.titles[sha], "date": now()}}
        found = {}
        for path, file in sorted(self.snapshots[sha].items()):
            for end in (index for index, letter in enumerate(path) if letter == "/"):
                folder_oid = hashlib.sha1(path[:end].encode()).hexdigest()
                found[path[:end]] = {"type": "directory", "path": path[:end], "oid": folder_oid, "size": 0, **known}
            found[path] = {"type": "file", "path": path, "oid": file.oid, "size": len(file.content), **known}
            if file.is_lfs:
                found[path]["lfs"] = {"oid": file.oid, "size": len(file.content), "pointerSize": 134}
        return found

    def listing(self, sha: str, folder: str, is_recursive: bool) -> list[dict]:
        """Describe what a folder holds; "" is the whole repository."""
        entries = self.entries(sha)
        if folder and entries.get(folder, {}).get("type") != "directory":
            raise Refused(404, f"{folder} does not exist on {sha}", "EntryNotFound")
        start = f"{folder}/" if folder else ""
        below = {path[len(start) :]: entry for path, entry in entries.items() if path.startswith(start)}
        return [entry for path, entry in below.items() if is_recursive or "/" not in path]

    def refs(self) -> dict:
        """List branches and tags."""

        def listed(folder: str, named: dict[str, str]) -> list[dict]:
            return [{"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": sha} for name, sha in named.items()]

        return {"branches": listed("heads", self.branches), "tags": listed("tags", self.tags), "converts": []}

    def upload_mode(self, sha: str, wanted: dict) -> dict:
        """Tell how a file is to be uploaded, and its content's name if it is there already."""
        path = wanted["path"]
        mode = "lfs" if path.endswith(LFS_SUFFIXES) or wanted["size"] >= LFS_BYTES else "regular"
        there = self.snapshots[sha].get(path)
        return {"path": path, "uploadMode": mode, "shouldIgnore": False, **({"oid": there.oid} if there else {})}

    def apply(self, branch: str, operations: list[tuple[str, dict]], stored: dict[str, bytes]) -> str:
        """Add the commit that these operations describe, or none of them, and tell its name.

        Args:
            branch: that moves on.
            operations: kind ("header", "file", "lfsFile", "deletedFile", "deletedFolder") and content of each.
            stored: what LFS holds, by SHA-256.
        """
        if branch not in self.branches:
            raise Refused(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        files, title = dict(self.snapshots[self.branches[branch]]), ""
        for kind, value in operations:
            path = value.get("path", "")
            if kind == "header":
                title = value["summary"]
                if value.get("parentCommit") not in (None, self.branches[branch]):
                    raise Refused(412, "A commit has happened since. Please refresh and try again.")
            elif kind == "file":
                files[path] = File(base64.b64decode(value["content"]))
            elif kind == "lfsFile":
                if value["oid"] not in stored:
                    raise Refused(400, f"LFS pointer pointed to a file that does not exist: {path}")
                files[path] = File(stored[value["oid"]], is_lfs=True)
            elif kind == "deletedFile" and path in files:
                del files[path]
            elif kind == "deletedFolder":
                files = {name: file for name, file in files.items() if not name.startswith(path.rstrip("/") + "/")}
            else:
                raise Refused(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        return self.commit(branch, files, title)

    def info(self, sha: str) -> dict:
        """Describe the repository as the API does, with the metadata of its card."""
        card = metadata_of(self.snapshots[sha].get("README.md", File(b"")).content.decode())
        named = {name: card[name] for name in ("pipeline_tag", "library_name") if name in card}
        names = {"id": self.id, "modelId": self.id, "author": self.id.split("/")[0], "sha": sha}
        flags = {"private": self.is_private, "gated": False, "disabled": False, "downloads": 0, "likes": 0}
        siblings = [{"rfilename": path} for path in sorted(self.snapshots[sha])]
        more = {"lastModified": now(), "tags": card.get("tags", []), "cardData": card, "siblings": siblings}
        return {**names, **flags, **named, **more}


def metadata_of(card: str) -> dict:
    """Read the YAML block at the beginning of a card."""
    block = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", card, re.DOTALL)
    try:
        metadata = yaml.safe_load(block[1]) if block else None
    except yaml.YAMLError as error:
        raise Refused(400, f"Invalid YAML: {error}".replace("\n", " ")) from error
    return metadata if isinstance(metadata, dict) else {}


def now() -> str:
    """Tell the time as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
