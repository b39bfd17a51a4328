"""The card that a repository on the Hub begins with when something of ours is pushed there."""

from huggingface_hub import HfApi, ModelCardData


CARD_FILE = "README.md"
CARD_HEADER = {
    "library_name": "transformers",
    "pipeline_tag": "other",
    "tags": ["sleep-staging", "sleep", "eeg", "polysomnography"],
}
CARD = """---
{header}
---

# {name}

Stages sleep from EEG with a model of SleepViT. What it has learned from and how well it does is not told here: this
card was begun by `push_to_hub`. `sleepvit push` uploads a checkpoint with the card of its training.

**Research use only, not a medical device.**

```python
from transformers import pipeline

stager = pipeline("sleep-staging", model="{repo}", trust_remote_code=True)
hypnogram = stager("night.edf")
```
"""


class PushedWithCard:
    """Mixin of what can be pushed: a new repository gets a short card that is true, in the place of an empty form."""

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, token: bool | str | None = None, **kwargs):
        """Upload to a repository on the Hub.

        Args:
            repo_id: "owner/name"; made where it is missing.
            private: whether a new repository is a private one; None leaves it to its owner's account.
            token: of the user; None takes the one that is stored.
            **kwargs: see `PushToHubMixin.push_to_hub`.

        Returns:
            what the library tells of the commit.
        """
        api = HfApi(token=token)
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if not api.file_exists(repo_id, CARD_FILE):
            name = repo_id.split("/")[-1]
            card = CARD.format(header=ModelCardData(**CARD_HEADER, model_name=name).to_yaml(), name=name, repo=repo_id)
            api.upload_file(path_or_fileobj=card.encode(), path_in_repo=CARD_FILE, repo_id=repo_id)
        return super().push_to_hub(repo_id, private=private, token=token, **kwargs)
