"""The demo page in a real browser: it shows what the API says, as text, and asks no other machine for anything."""

import json
from urllib.parse import urlsplit

import numpy as np
import pytest

from ner_elmo import NerTagger
from ner_elmo.serving.layer_shares import layer_shares, mixed_layers

pytest.importorskip("selenium", reason="needs selenium, of the extra `test`")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from docs.make_screenshot import draw, find_browser, open_browser

TEXT = "Ada Lund left Oslo 😀. <img src=x onerror=\"document.title='run'\"> Oslo called Ada."


@pytest.fixture(scope="module")
def browser():
    if (found := find_browser()) is None:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    browser = open_browser(*found)
    yield browser
    browser.quit()


def wait(browser, what):
    return WebDriverWait(browser, 60).until(what)


def one(browser, selector):
    return wait(browser, lambda b: b.find_element(By.CSS_SELECTOR, selector))


def texts(browser, selector) -> list[str]:
    """Read at once: elements may be replaced at any time."""
    return browser.execute_script("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)", selector)


def hosts_asked(browser) -> set[str]:
    """Of every request since the last call."""
    found = set()
    for row in browser.get_log("performance"):
        message = json.loads(row["message"])["message"]
        if message["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated"):
            parameters = message["params"]
            url = urlsplit(parameters.get("url") or parameters["request"]["url"])
            if url.scheme in ("http", "https", "ws", "wss"):
                found.add(url.netloc)
    return found


def test_a_person_finds_entities(server, browser):
    browser.get(server.url)
    box = one(browser, "#text textarea")
    wait(browser, lambda b: box.get_attribute("value"))  # the sample text is there: the page works
    before, after = TEXT.split("😀")  # which the driver cannot type
    box.send_keys(Keys.CONTROL, "a", Keys.NULL, before)
    browser.execute_script("document.execCommand('insertText', false, '😀')")
    box.send_keys(after)
    assert box.get_attribute("value") == TEXT
    one(browser, "#find").click()
    wait(browser, lambda b: texts(b, "#table td"))
    _, row = server.post(text=TEXT)
    expected = [(e["type"], e["text"], f"{e['confidence']:.2f}", f"{e['start']}–{e['end']}") for e in row["entities"]]
    assert len(expected) >= 4
    cells = texts(browser, "#table td")
    assert list(zip(cells[::5], cells[1::5], cells[3::5], cells[4::5], strict=True)) == expected
    marked = " ".join(texts(browser, "#marked"))
    assert all(entity["text"] in marked for entity in row["entities"])
    assert "<img" in marked and "src=x onerror=" in marked  # as text
    assert browser.title == "ner-elmo"
    assert browser.execute_script("return document.querySelectorAll('img[src=x]').length") == 0
    tokens = texts(browser, "#mix .token")
    assert [token.split("\n")[0] for token in tokens[:5]] == ["Ada", "Lund", "left", "Oslo", "😀"]
    assert all(abs(sum(map(int, token.split("\n")[-1].split(" · "))) - 100) <= 2 for token in tokens)

    one(browser, "#minimum input[type=range]").send_keys(Keys.END)
    wait(browser, lambda b: texts(b, "#table h3") == [f"0 entities, {len(expected)} below the minimum confidence"])
    assert not texts(browser, "#table td")
    assert hosts_asked(browser) == {f"127.0.0.1:{server.port}"}
    assert [row for row in browser.get_log("browser") if row["level"] == "SEVERE"] == []


def test_the_picture_of_the_readme(server, browser, tmp_path):
    draw(browser, server.url, tmp_path / "demo.png")
    assert (tmp_path / "demo.png").stat().st_size > 20_000
    assert "Northlight" in " ".join(texts(browser, "#mix .token"))


def test_analytics_are_off(server):
    status, _, configuration = server.ask("GET", "/config")
    assert (status, json.loads(configuration)["analytics_enabled"]) == (200, False)


def test_the_description_opens_without_a_network(server, browser):
    browser.get(f"{server.url}/docs")
    wait(browser, lambda b: "/entities" in " ".join(texts(b, ".opblock-summary-path")))
    assert hosts_asked(browser) == {f"127.0.0.1:{server.port}"}


def test_a_text_that_the_server_refuses_is_said(server, browser):
    browser.get(server.url)
    box = one(browser, "#text textarea")
    wait(browser, lambda b: box.get_attribute("value"))
    browser.execute_script("arguments[0].value = 'x '.repeat(40000); arguments[0].dispatchEvent(new Event('input'))", box)
    one(browser, "#find").click()
    wait(browser, lambda b: texts(b, ".toast-body"))


def test_shares_of_layers(small_model):
    tagger = NerTagger.load(small_model)
    layers, tokens = mixed_layers(tagger), ["Ada", "Lund", "left"]
    assert [number for number, _ in layers] == [0, 1, 2]
    found = layer_shares(tagger, tokens)
    (activations,) = tagger.features.bilm.embed([tokens])
    for t in range(3):
        parts = [weight * np.linalg.norm(activations[number, t]) for number, weight in layers]
        np.testing.assert_allclose(found[t], np.array(parts) / sum(parts), rtol=1e-5)
