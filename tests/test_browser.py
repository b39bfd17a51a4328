"""The browser the tests of pages use: it runs scripts, and keeps what a page complains about and asks for."""


def test_errors_and_requests_of_a_page_are_kept(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(
        "<title>good</title><script>document.title = 'ran'; console.error('told'); missing()</script>"
        "<img src='http://127.0.0.1:59999/picture.png'>"
    )
    with browser.tab(width=375) as tab:
        tab.page.goto(path.as_uri())
        assert tab.page.title() == "ran"
        assert tab.page.viewport_size["width"] == 375
        assert "told" in tab.errors
        assert any("missing is not defined" in error for error in tab.errors)
        assert tab.requests == ["http://127.0.0.1:59999/picture.png"]
    with browser.tab() as tab:
        assert (tab.errors, tab.requests) == ([], [])
