"""The Hub of the tests answers the real client as the real one does."""

ROUND_TRIP = """
import json
from pathlib import Path
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
)

def raised(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except Exception as error:
        return [kind.__name__ for kind in type(error).__mro__]
    return []

api, repo = HfApi(), "owner/model"
found = {"user": api.whoami()["name"], "url": str(api.create_repo(repo, private=True))}
found["again"] = str(api.create_repo(repo, exist_ok=True))
found["not again"] = raised(api.create_repo, repo)
Path("up/sub").mkdir(parents=True)
Path("up/README.md").write_text("---\\npipeline_tag: audio-classification\\n---\\n# A card\\n")
Path("up/sub/weights.safetensors").write_bytes(bytes(range(256)) * 5000)
Path("up/empty.bin").write_bytes(b"")
first = api.upload_folder(repo_id=repo, folder_path="up")
found["no change"] = api.upload_folder(repo_id=repo, folder_path="up").oid == first.oid
api.upload_file(repo_id=repo, path_or_fileobj=b"notes", path_in_repo="notes.txt")
found["files"] = sorted(api.list_repo_files(repo))
found["tree"] = {entry.path: type(entry).__name__ for entry in api.list_repo_tree(repo)}
found["paths"] = [entry.lfs.size for entry in api.get_paths_info(repo, ["sub/weights.safetensors", "none"])]
info = api.model_info(repo)
found["info"] = [info.private, info.pipeline_tag, info.sha == api.list_repo_commits(repo)[0].commit_id]
down = Path(snapshot_download(repo))
found["same"] = all((down / p).read_bytes() == q.read_bytes() for q in Path("up").rglob("*.*") if q.is_file()
    for p in [q.relative_to("up")])
found["by hash"] = Path(hf_hub_download(repo, "README.md", revision=first.oid)).read_text()[-9:]
api.create_tag(repo, tag="v1")
api.create_branch(repo, branch="trial")
api.delete_file("notes.txt", repo)
api.upload_file(repo_id=repo, path_or_fileobj=b"x", path_in_repo="x.txt", revision="trial")
found["refs"] = {name: "notes.txt" in api.list_repo_files(repo, revision=name) for name in ("main", "v1", "trial")}
found["x"] = [api.file_exists(repo, "x.txt"), api.file_exists(repo, "x.txt", revision="trial")]
found["parent"] = raised(api.create_commit, repo, [CommitOperationAdd("y", b"y")], commit_message="late",
    parent_commit=first.oid)
found["no file"] = raised(hf_hub_download, repo, "missing.txt")
found["no file to delete"] = raised(api.delete_file, "missing.txt", repo)
found["no folder"] = raised(lambda: list(api.list_repo_tree(repo, "missing")))
found["no revision"] = raised(api.model_info, repo, revision="missing")
found["no repo"] = raised(api.model_info, "owner/missing")
found["no repo to load"] = raised(hf_hub_download, "owner/missing", "config.json")
found["no dataset of this name"] = raised(api.dataset_info, repo)
found["stranger reads"] = raised(api.model_info, repo, token=False)
found["stranger writes"] = raised(api.create_repo, "owner/theirs", token="hf_of_a_stranger")
card = b"---\\na: [\\n---\\n"
found["bad card"] = raised(api.upload_file, repo_id=repo, path_or_fileobj=card, path_in_repo="README.md")
api.update_repo_settings(repo, private=False)
found["stranger reads now"] = raised(api.model_info, repo, token=False)
api.delete_repo(repo)
found["gone"] = not api.repo_exists(repo)
print(json.dumps(found))
"""


def test_the_real_client_goes_through_a_repository_s_life(hub):
    found = hub.run(ROUND_TRIP, package=False).json
    assert found["user"] == "owner"
    assert found["url"] == found["again"] == f"{hub.url}/owner/model"
    assert found["no change"]
    assert found["files"] == ["README.md", "empty.bin", "notes.txt", "sub/weights.safetensors"]
    assert found["tree"] == {
        "README.md": "RepoFile",
        "empty.bin": "RepoFile",
        "notes.txt": "RepoFile",
        "sub": "RepoFolder",
    }
    assert found["paths"] == [1_280_000]
    assert found["info"] == [True, "audio-classification", True]
    assert found["same"]
    assert found["by hash"] == "# A card\n"
    assert found["refs"] == {"main": False, "v1": True, "trial": True}
    assert found["x"] == [False, True]
    assert found["stranger reads now"] == []
    assert found["gone"]
    for what, error in {
        "not again": "HfHubHTTPError",
        "parent": "HfHubHTTPError",
        "no file": "EntryNotFoundError",
        "no file to delete": "EntryNotFoundError",
        "no folder": "EntryNotFoundError",
        "no revision": "RevisionNotFoundError",
        "no repo": "RepositoryNotFoundError",
        "no repo to load": "RepositoryNotFoundError",
        "no dataset of this name": "RepositoryNotFoundError",
        "stranger reads": "RepositoryNotFoundError",
        "stranger writes": "HfHubHTTPError",
        "bad card": "ValueError",
    }.items():
        assert error in found[what], what
