"""The report in headless Chromium: it opens without an error, shows what is clicked, fits a phone and prints.

Install the browser with `apt-get update && apt-get install -y chromium`; without it these tests are skipped.
"""

import re

import pytest

from train_scripts.cli import main


@pytest.fixture(scope="module")
def tab(browser, night_report):
    """The report, open in a wide window; tests choose epochs in it and leave it open."""
    with browser.tab(width=1280) as tab:
        tab.page.goto(night_report.path.as_uri())
        yield tab


def title(tab) -> str:
    return tab.page.locator("#epoch-title").inner_text()


def click_epoch(tab, epoch: int, n_epochs: int = 40) -> None:
    tab.page.locator("#overlay").scroll_into_view_if_needed()
    box = tab.page.locator("#overlay").bounding_box()
    tab.page.mouse.click(box["x"] + box["width"] * (epoch + 0.5) / n_epochs, box["y"] + box["height"] / 3)


def test_it_opens_without_an_error_and_asks_for_nothing(tab, night_report):
    assert (tab.errors, tab.requests) == ([], [])
    assert tab.page.locator("#hypnogram .epoch").count() == len(night_report.csv)
    first = night_report.data["reviewOrder"][0]
    assert f"Epoch {first}," in title(tab)
    assert "number 1 to review" in title(tab)


def test_clicking_an_epoch_shows_its_eeg(tab, night_report):
    for epoch in (3, 30):
        click_epoch(tab, epoch)
        assert title(tab).startswith(f"Epoch {epoch}, {night_report.data['times'][epoch]}")
        path = tab.page.locator("#trace").get_attribute("d")
        heights = [float(pair.split()[1]) for pair in re.split("[ML]", path)[1:]]
        step = night_report.data["eegStepUv"][epoch]
        values = tab.page.evaluate(
            "epoch => Array.from(new Int8Array(Uint8Array.from(atob(JSON.parse(document.getElementById('night')"
            ".textContent).eeg), letter => letter.charCodeAt(0)).buffer).slice(1500 * epoch, 1500 * (epoch + 1)))",
            epoch,
        )
        assert len(heights) == 1500
        assert [100 * (height - 1) for height in heights] == pytest.approx(
            [value * step for value in values], abs=0.01
        )
        given = tab.page.locator("#probabilities .given")
        assert given.locator("th").inner_text() == night_report.data["stages"][epoch]
    assert tab.errors == []


def test_an_unscored_epoch_says_so(tab):
    click_epoch(tab, 13)
    assert "not scored" in title(tab)
    assert tab.page.locator("#probabilities .given").count() == 0
    assert tab.page.locator("#relevance").is_hidden()


def test_pointing_reads_an_epoch_without_choosing_it(tab, night_report):
    click_epoch(tab, 5)
    box = tab.page.locator("#overlay").bounding_box()
    tab.page.mouse.move(box["x"] + box["width"] * 20.5 / 40, box["y"] + 10)
    readout = tab.page.locator("#readout").inner_text()
    assert readout.startswith(f"Epoch 20, {night_report.data['times'][20]}: {night_report.data['stages'][20]}")
    assert title(tab).startswith("Epoch 5,")


def test_keys_walk_through_the_night(tab):
    click_epoch(tab, 5)
    for key, epoch in (("ArrowRight", 6), ("ArrowLeft", 5), ("PageDown", 0), ("PageUp", 20), ("End", 39), ("Home", 0)):
        tab.page.keyboard.press(key)
        assert title(tab).startswith(f"Epoch {epoch},"), key
    assert tab.page.locator("#overlay").get_attribute("aria-valuenow") == "0"


def test_an_explained_epoch_shows_its_bands_and_its_neighbours(tab, night_report):
    tab.page.locator("#next-explained").click()
    epoch = int(re.match(r"Epoch (\d+)", title(tab))[1])
    assert str(epoch) in night_report.data["explained"]["epochs"]
    assert tab.page.locator("#relevance").is_visible()
    drawn = tab.page.evaluate(
        "() => [...document.getElementById('relevance').getContext('2d').getImageData(0, 0, 30, 32).data]"
    )
    rows = [drawn[120 * row : 120 * (row + 1)] for row in range(32)]
    # 0 Hz is at the bottom, and a band is one colour: 16 rows of beta, then four rows each down to delta
    assert [rows[0] == row for row in rows].count(True) == 16
    assert rows[28:] == [rows[31]] * 4
    assert rows[0] != rows[31]
    seconds = night_report.data["explained"]["epochs"][str(epoch)]["seconds"]
    shades = tab.page.locator("#shades rect").evaluate_all(
        "rects => rects.map(rect => [rect.className.baseVal, Number(rect.getAttribute('opacity'))])"
    )
    assert shades == [["against" if share < 0 else "for", pytest.approx(0.22 * abs(share))] for share in seconds]
    bars = tab.page.locator("#neighbour-bars button")
    assert bars.count() == len(night_report.data["explained"]["epochs"][str(epoch)]["neighbours"])
    bars.last.click()
    assert not title(tab).startswith(f"Epoch {epoch},")


@pytest.mark.parametrize(
    ("kind", "n_epochs", "caption"),
    [("epoch", 3, None), ("sequence", 1, "This epoch itself (outlined) has 100 % of the weight.")],
)
def test_without_neighbours_it_opens_without_an_error_too(
    browser, tiny_checkpoints, write_edf, tmp_path, kind, n_epochs, caption
):
    edf = write_edf(tmp_path / "night.edf", seconds=30 * n_epochs)
    stage_with_report = ("--report", "--output", str(tmp_path), "--model", str(tiny_checkpoints[kind]))
    assert main(["stage", str(edf), *stage_with_report]) == 0
    with browser.tab() as tab:
        tab.page.goto((tmp_path / "night_report.html").as_uri())
        assert tab.page.locator("#relevance").is_visible()
        assert tab.page.locator("#neighbours").is_visible() == (caption is not None)
        if caption:
            assert tab.page.locator("#neighbours-caption").inner_text().startswith(caption[:-1])
            assert "min before" not in tab.page.locator("#neighbours-caption").inner_text()
        assert tab.errors == []


def test_the_slider_counts_what_a_review_brings(tab, night_report):
    tab.page.locator("#review-slider").fill("4")
    promise = tab.page.locator(".promise").inner_text().replace("\u00a0", " ")
    agreement = night_report.data["agreement"]
    assert "Review these 4 epochs (2.0 min)" in promise
    assert promise.endswith(f"to {100 * agreement[4]:.1f} %.")
    assert tab.page.locator("#review-lane rect").count() == 4
    assert tab.page.locator(".review tr.beyond").count() == 33
    tab.page.locator(".review button").nth(2).click()
    assert title(tab).startswith(f"Epoch {night_report.data['reviewOrder'][2]},")
    tab.page.locator("#next-review").click()
    assert "number 4 to review" in title(tab)


def test_the_height_of_the_eeg_can_be_chosen(tab):
    before = tab.page.locator("#trace").get_attribute("d")
    tab.page.locator("#gain").select_option("25")
    assert tab.page.locator("#trace").get_attribute("d") != before
    assert tab.page.locator("#eeg-axis").inner_text().split() == ["−25", "0", "µV", "25"]


@pytest.mark.parametrize("width", [375, 768])
def test_it_fits_narrow_screens(browser, night_report, width):
    with browser.tab(width=width, height=800) as tab:
        tab.page.goto(night_report.path.as_uri())
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.page.evaluate("document.querySelector('.list').scrollWidth") <= width
        click_epoch(tab, 7)
        assert title(tab).startswith("Epoch 7,")
        assert tab.errors == []


def test_it_prints_on_two_pages_of_a4(tab):
    pdf = tab.page.pdf(format="A4", prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page[^s]", pdf)) == 2
