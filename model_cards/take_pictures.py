"""Take the pictures of the README anew, of real sleep staged by the embedded checkpoint.

python -m model_cards.take_pictures

Needs the project's development data and Chromium; run it when weights or pictures change.
"""

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from modeling_sleepvit.errors import SettingError
from modeling_sleepvit.whole_files import written_whole
from train_scripts import demo
from train_scripts.running import run_script


FOLDER = Path(__file__).parent
NIGHT = "SC4001E0_part"
WIDTH = 1280


def main(argv: list[str] | None = None) -> int:
    """Stage the demo's night and write `staged_night.png` and `night_report.png`.

    Args:
        argv: not used.

    Returns:
        the exit code of the demo.

    Raises:
        SettingError: the real night or Chromium is missing.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SettingError("chromium is not on the path: expected the browser; apt-get install -y chromium.")
    if exit_code := demo.main():
        return exit_code
    report = demo.OUTPUT / f"{NIGHT}_report.html"
    if not report.is_file():
        raise SettingError(f"{report} is missing: expected the demo's real night; set SLEEPVIT_DATA to its data.")
    with written_whole(FOLDER / "staged_night.png") as partial:
        shutil.copyfile(demo.OUTPUT / f"{NIGHT}_hypnogram.png", partial)
    with sync_playwright() as playwright, written_whole(FOLDER / "night_report.png") as partial:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        page.goto(report.resolve().as_uri())
        top = page.locator("#night-title").bounding_box()["y"] - 16
        epoch = page.locator("#epoch").bounding_box()
        clip = {"x": 0, "y": top, "width": WIDTH, "height": epoch["y"] + epoch["height"] - top + 12}
        page.screenshot(path=partial, full_page=True, clip=clip)
        browser.close()
        picture = Image.open(partial).convert("RGB")
        # a third of its size; the colours that explain an epoch are rare ones, which other palettes turn grey
        picture.quantize(256, Image.Quantize.MAXCOVERAGE).save(partial, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
