"""What the Hub refuses, said in a sentence a user can act on."""

import time

from huggingface_hub import constants, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_session, httpx

from .errors import CheckpointError


CONNECT_TIMEOUT_S, PAUSE_S = 3.0, 1.0

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


def refuse_unreachable(name: str, revision: str | None = None) -> None:
    """Refuse a checkpoint that is not on this machine where the Hub cannot be reached.

    Clients of the Hub try for half a minute; a misspelt folder looks like an id, and need not wait as long.

    Args:
        name: id of the checkpoint, "owner/name".
        revision: branch, tag or commit; None stands for the main branch.

    Raises:
        CheckpointError: nobody answers, twice within a few seconds. What an answer means is left to who loads.
    """
    try:
        if isinstance(try_to_load_from_cache(name, constants.CONFIG_NAME, revision=revision), str):
            return
        url = hf_hub_url(name, constants.CONFIG_NAME, revision=revision)
    except HFValidationError:
        return  # no id, as who loads will say
    for is_last in (False, True):
        try:
            get_session().head(url, timeout=httpx.Timeout(constants.HF_HUB_ETAG_TIMEOUT, connect=CONNECT_TIMEOUT_S))
            return
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if is_last:
                raise CheckpointError(
                    f"{name}: no such folder here, and {constants.ENDPOINT} cannot be reached ({error}); check the "
                    "path, or the network."
                ) from error
        except (httpx.HTTPError, OfflineModeIsEnabled):
            return
        time.sleep(PAUSE_S)
