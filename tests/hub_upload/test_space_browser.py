"""The page in a browser: Debian's Chromium, without a window and without a network."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brainbert.hub_upload.space.app import serve

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FIXTURE = Path(__file__).parents[1] / "fixtures" / "tiny"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM.exists() and DRIVER.exists()), reason="needs Chromium and its driver"),
]
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """The page of the fixture's model, opened on a laptop; downloads go to browser.downloads."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    downloads = tmp_path_factory.mktemp("downloads")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1280,800"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", "")  # put back afterwards
        app, address = serve(str(FIXTURE), port=0, wait=False)
        try:
            driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
            try:
                driver.downloads, driver.address = downloads, address
                driver.get(address)
                yield driver
            finally:
                driver.quit()
        finally:
            app.close(verbose=False)


def wait(browser: Any, condition: Callable[[], Any]) -> Any:
    """Return what the condition returns once it is true, within 30 s."""
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    waiting = WebDriverWait(browser, 30, ignored_exceptions=[StaleElementReferenceException])
    return waiting.until(lambda _: condition())


def text(browser: Any, selector: str) -> str:
    """Return the text of the first element, "" when there is none."""
    found = browser.find_elements("css selector", selector)
    return found[0].text if found else ""


def upload(browser: Any, *paths: Path) -> None:
    """Hand files to the page's upload field."""
    wait(browser, lambda: browser.find_elements("css selector", "#upload input[type=file]"))[0].send_keys(
        "\n".join(map(str, paths))
    )


def test_a_visitor_takes_the_sample_sees_it_and_downloads_its_embeddings(browser):
    wait(browser, lambda: browser.find_elements("id", "sample"))[0].click()
    cards = ".bb-card svg"
    wait(browser, lambda: len(browser.find_elements("css selector", cards)) == 3)
    assert "14, 1 bad" in text(browser, "#summary")
    assert "Contact A2, 0.0 to 5.0 s" in text(browser, "#pictures")  # A1 has one neighbour, the Laplacian takes two
    assert "of the variance" in text(browser, "#trajectory")
    browser.find_element("id", "embed").click()
    wait(browser, lambda: browser.find_elements("css selector", "#across .bb-card svg"))
    assert "12 windows of 5 s × 9 contacts" in text(browser, "#across")
    link = wait(browser, lambda: browser.find_element("id", "download").is_enabled()) and browser.find_element(
        "id", "download"
    )
    link.click()
    path = browser.downloads / "embeddings.npz"
    wait(browser, path.exists)
    with np.load(path, allow_pickle=False) as saved:
        assert saved["embeddings"].shape == (12, 9, 24)
        assert np.isfinite(saved["embeddings"]).all()
        assert saved["start_s"].tolist() == [5.0 * n for n in range(12)]
        assert saved["contacts"].tolist() == ["A2", "A3", "A4", "A5", "A6", "A7", "B2", "B3", "B4"]


def test_a_bad_file_is_a_sentence_and_a_good_one_after_it_is_shown(browser, tmp_path):
    bad, good = tmp_path / "broken.edf", tmp_path / "good.npz"
    bad.write_bytes(b"0       " + b"x" * 600)
    upload(browser, bad)
    wait(browser, lambda: "cannot be read as EDF" in text(browser, "#message"))
    browser.find_element("css selector", "#reference input").click()
    wait(browser, lambda: browser.find_elements("css selector", "[role=option]"))[-1].click()  # none: as recorded
    wait(browser, lambda: "Contact A1, 0.0 to 5.0 s" in text(browser, "#pictures"))
    voltage = 30 * np.random.default_rng(0).standard_normal((2, 20480)).astype(np.float32)
    name = "<img src=x onerror=document.title='taken'>1"
    np.savez(good, voltage=voltage, sampling_rate=2048.0, contacts=np.array([name, "${document.title='taken'}2"]))
    upload(browser, good)
    wait(browser, lambda: f"Contact {name}, 0.0 to 5.0 s" in text(browser, "#pictures"))
    assert text(browser, "#message") == ""
    assert browser.title == "BrainBERT: tiny"


def test_nothing_on_a_phone_is_wider_than_its_screen_and_nothing_comes_from_elsewhere(browser):
    import json

    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    time.sleep(0.5)
    widths = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert widths == [390, 390]
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    assert asked
    assert not [url for url in asked if not url.startswith((browser.address, "data:", "blob:", "chrome"))]
