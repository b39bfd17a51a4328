"""Uploading a folder to the Hub: whole or not at all, and what goes wrong in one sentence."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.utils import httpx, validate_repo_id

from modeling_sleepvit.errors import SettingError
from modeling_sleepvit.hub_errors import hub_refusal


def check_repo_id(where: str, repo: str) -> None:
    """Refuse what can be no repository, before the work.

    Args:
        where: begins the message.
        repo: id on the Hub.

    Raises:
        SettingError: the id is none.
    """
    try:
        validate_repo_id(repo)
    except ValueError as error:
        raise SettingError(f"{where}: expected an id on the Hub (owner/name): {error}") from error


def upload_folder(
    folder: Path,
    repo: str,
    repo_type: str = "model",
    *,
    is_private: bool = False,
    revision: str | None = None,
    name: str | Path | None = None,
    state: str = "",
    **patterns,
) -> str:
    """Upload a folder to the Hub in one commit.

    Args:
        folder: what is uploaded.
        repo: its id, "owner/name"; made where it is missing.
        repo_type: "model" or "dataset".
        is_private: whether it has to be a private one; a new repository is otherwise what its owner's account has set.
        revision: branch; made where it is missing, from the main one.
        name: of what is uploaded, in messages; None stands for the folder.
        state: goes behind the name in messages, for example "is prepared but".
        **patterns: `ignore_patterns` and `delete_patterns` of `HfApi.upload_folder`.

    Returns:
        the address of the folder on the Hub.

    Raises:
        SettingError: the Hub refuses, cannot be reached, or shows the repository to everybody although it has to be
            private; nothing was uploaded then.
    """
    subject = " ".join(f"{name or folder} {state}".split())
    try:
        api = HfApi()
        api.create_repo(repo, repo_type=repo_type, private=is_private or None, exist_ok=True)
        is_public = not api.repo_info(repo, repo_type=repo_type).private
        if not (is_private and is_public):
            if revision is not None:
                api.create_branch(repo, repo_type=repo_type, branch=revision, exist_ok=True)
            return str(
                api.upload_folder(repo_id=repo, repo_type=repo_type, revision=revision, folder_path=folder, **patterns)
            )
    # HTTPError: the Hub refuses or cannot be reached; InvalidURL: HF_ENDPOINT is none; ValueError: the id is none
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        reason = hub_refusal(error, "write") or " ".join(str(error).split()) or type(error).__name__
        raise SettingError(f"{subject} could not be uploaded to {repo}: {reason.rstrip('.')}.") from error
    raise SettingError(
        f"{subject} was not uploaded: {repo} is there already and public; make it private in its settings on the Hub, "
        "or choose another name."
    )
