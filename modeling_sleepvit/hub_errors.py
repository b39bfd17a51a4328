"""What the Hub refuses, said in a sentence a user can act on."""

from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError


LOG_IN = "log in with `hf auth login`, or set HF_TOKEN to a token that may"


def hub_refusal(error: BaseException | None, wanted: str = "read") -> str | None:
    """Say why the Hub refused a request.

    Args:
        error: of a Hugging Face client; the Hub's own may be its cause.
        wanted: what the token has to be good for: "read" or "write".

    Returns:
        the reason and what to do, without a full stop, or None where the Hub did not refuse anything.
    """
    while error is not None and not isinstance(error, HfHubHTTPError):
        error = error.__cause__ or error.__context__
    if error is None:
        return None
    if isinstance(error, GatedRepoError):
        return f"its owner has to let you in first; ask for access on its page, then {LOG_IN} {wanted} it"
    if isinstance(error, RepositoryNotFoundError):
        return f"the Hub has no such repository, or it is private; check its name, or {LOG_IN} {wanted} it"
    if isinstance(error, RevisionNotFoundError):
        return "the Hub has no such revision of it; check the name of the branch, tag or commit"
    status = error.response.status_code
    said = f"{status} {' '.join(str(error.server_message or error).split())}"
    if status == 401:
        return f"the access token is missing or not accepted ({said}); {LOG_IN} {wanted} it"
    if status == 403:
        return f"the access token is not enough ({said}); {LOG_IN} {wanted} it"
    return f"the Hub answers {said}; try again later"
