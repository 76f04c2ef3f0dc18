"""Draws docs/demo.png, the demo page with entities in a text: `python -m docs.make_screenshot --model MODEL`.

Needs the extras `serve` and `test`, Chromium and its driver.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from biLM.errors import InputError, run_command

PICTURE = Path(__file__).resolve().parent / "demo.png"
TEXT = (
    "Ada Lund flew from Oslo to Nairobi to meet the board of Northlight Optics. "
    "Two days later the Kenyan minister Grace Otieno opened their new plant in Mombasa."
)
QUIET = ("--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-sync")


def find_browser() -> tuple[str, str] | None:
    """Chromium and its driver, where both are installed."""
    found, driver = shutil.which("chromium"), shutil.which("chromedriver")
    return (found, driver) if found and driver else None


def open_browser(binary: str, driver: str) -> webdriver.Chrome:
    """Without a window, asking nobody for anything; its requests and messages can be read."""
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1140,1010", *QUIET):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    return webdriver.Chrome(options, Service(driver))


def draw(browser: webdriver.Chrome, url: str, path: Path) -> None:
    """Types the text, asks for its entities and takes the picture."""
    wait = WebDriverWait(browser, 60)
    browser.get(url)
    box = wait.until(lambda b: b.find_element(By.CSS_SELECTOR, "#text textarea"))
    wait.until(lambda b: box.get_attribute("value"))  # the sample text is there: the page works
    box.send_keys(Keys.CONTROL, "a", Keys.NULL, TEXT)
    browser.find_element(By.CSS_SELECTOR, "#find").click()
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, "#mix .token"))
    browser.save_screenshot(str(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, default=PICTURE, metavar="FILE.png")
    args = parser.parse_args()
    found = find_browser()
    if found is None:
        raise InputError("needs a browser: apt-get install chromium chromium-driver")
    command = [sys.executable, "-m", "ner_elmo", "serve", "--model", args.model, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            said = server.stderr.readline() if server.stderr else ""
            address = re.match(r"ready: (http://127\.0\.0\.1:\d+) ", said)
            if address is None:
                raise InputError(said.strip() or "the server did not start")
            browser = open_browser(*found)
            try:
                draw(browser, address[1], args.out)
            finally:
                browser.quit()
        finally:
            server.terminate()
    print(args.out)


if __name__ == "__main__":
    sys.exit(run_command("make_screenshot", main))
