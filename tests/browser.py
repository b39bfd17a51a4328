"""Headless Chromium for tests of pages; what a page complains about is kept beside it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest


BROWSERS = ("chromium", "chromium-browser", "google-chrome")
HOW_TO_INSTALL = "apt-get update && apt-get install -y chromium"


@dataclass
class Tab:
    """An open tab: Playwright's `page`, and what went wrong in it."""

    page: object
    errors: list[str] = field(default_factory=list)
    """Errors of scripts and of the console."""
    requests: list[str] = field(default_factory=list)
    """Addresses beyond files and data inside the page that were asked for."""


class Browser:
    """A running Chromium that opens tabs, each with cookies and storage of its own."""

    def __init__(self, chromium):
        self.chromium = chromium

    @contextmanager
    def tab(self, width: int = 1280, height: int = 900) -> Iterator[Tab]:
        """Open an empty tab; go somewhere with `tab.page.goto(path.as_uri())`.

        Args:
            width: of the window in CSS pixels; 375 is a phone's.
            height: of the window in CSS pixels.

        Yields:
            the tab, closed at the end.
        """
        context = self.chromium.new_context(viewport={"width": width, "height": height})
        tab = Tab(context.new_page())
        tab.page.on("pageerror", lambda error: tab.errors.append(str(error)))
        tab.page.on("console", lambda message: tab.errors.append(message.text) if message.type == "error" else None)
        tab.page.on(
            "request",
            lambda request: (
                None if request.url.startswith(("file:", "data:", "blob:")) else tab.requests.append(request.url)
            ),
        )
        try:
            yield tab
        finally:
            context.close()


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start Chromium, or skip the test with the command that installs it."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is absent: pip install playwright")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"Chromium is absent: {HOW_TO_INSTALL}")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        try:
            yield Browser(chromium)
        finally:
            chromium.close()
