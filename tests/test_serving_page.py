"""The page in Chromium: with a pointer, by keyboard alone, on a phone, in the dark.

Where no Chromium is installed these tests are left out, and the run says so, as with GPUs.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlkit.serving.server import Server
from tests.served import serving

pytestmark = pytest.mark.long
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SCAN = sorted(Path("samples/scans").glob("*.png"))[0]
PAGE = sorted(Path("samples/pages").glob("*"))[0]
KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving({"digits": "digits", "mmwave": "mmwave", "digit_maker": "digit_maker"}) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """The page; whatever it says to the console, or asks of elsewhere, is a failure."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    own = f"http://127.0.0.1:{server.port}"
    page.on("request", lambda request: None if request.url.startswith((own, "blob:", "data:"))
            else said.append(request.url))  # fmt: skip
    page.goto(own)
    page.wait_for_selector("[role=tab]")
    yield page
    page.close()
    assert [text for text in said if "400" not in text] == []


def stroke(page: Any, points: list[tuple[int, int]]) -> None:
    """Draw on the paper, in its own pixels."""
    box = page.locator("canvas").bounding_box()
    scale = box["width"] / 560
    places = [(box["x"] + x * scale, box["y"] + y * scale) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)
    page.mouse.up()


def test_a_scan_is_cleaned_and_compared(page: Any, tmp_path: Path) -> None:
    page.locator(".drop input").set_input_files(str(SCAN))
    page.wait_for_selector(".compare:not([hidden])")
    slider = page.get_by_role("slider")
    assert slider.input_value() == "50"
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert slider.input_value() == "55"
    assert page.locator(".frame").evaluate("one => one.style.getPropertyValue('--x')") == "55%"
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    download.value.save_as(tmp_path / "cleaned.png")
    assert (tmp_path / "cleaned.png").read_bytes().startswith(b"\x89PNG")
    page.get_by_text("The same from a program").first.click()
    assert "curl --data-binary @" in page.locator("#tool-0 pre").first.inner_text()


def test_a_seven_is_drawn_and_read(page: Any) -> None:
    page.get_by_role("tab", name="Recognize").click()
    stroke(page, [(150, 130), (400, 130), (260, 450)])
    page.wait_for_selector(".bars .best")
    assert page.locator(".big .text").inner_text() == "7"
    assert page.locator(".bars li").count() == 10
    page.get_by_role("button", name="Clear").click()
    assert page.locator(".bars li").count() == 0


def test_by_keyboard_alone(page: Any) -> None:
    page.get_by_role("tab", name="Clean").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", name="Recognize").get_attribute("aria-selected") == "true"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "CANVAS"
    page.keyboard.press("Space")
    for _ in range(16):
        page.keyboard.press("ArrowDown")  # one straight stroke
    page.keyboard.press("Enter")
    page.wait_for_selector(".bars .best")
    assert page.locator(".big .text").inner_text() == "1"
    page.keyboard.press("Delete")
    assert page.locator(".bars li").count() == 0


def test_a_page_of_digits_has_its_boxes(page: Any) -> None:
    page.get_by_role("tab", name="Recognize").click()
    page.locator("#tool-1 .actions input").set_input_files(str(PAGE))
    page.wait_for_selector(".seen rect", state="attached", timeout=60_000)
    assert page.locator(".seen rect").count() > 50
    assert "9397650" in page.locator(".big .text").inner_text()


def test_an_upload_that_is_no_image(page: Any, tmp_path: Path) -> None:
    file = tmp_path / "letter.png"
    file.write_text("Dear Sir")
    page.locator(".drop input").set_input_files(str(file))
    alert = page.locator("#tool-0 [role=alert]")
    alert.wait_for(state="visible")
    assert "no image" in alert.inner_text()
    page.get_by_role("button", name="Try a simulated scan").click()  # and it goes on
    page.wait_for_selector(".compare:not([hidden])")
    assert alert.is_hidden()


def test_images_are_made(page: Any) -> None:
    page.get_by_role("tab", name="Make").click()
    page.get_by_role("combobox", name="What").select_option("3")
    page.get_by_role("button", name="Make them").click()
    page.wait_for_selector(".made img:not([hidden])")
    assert page.locator(".made img").get_attribute("alt") == "20 images of 3, seed 0"


def test_the_table_tells_of_each_model(page: Any) -> None:
    page.wait_for_selector("#rows tr")
    rows = page.locator("#rows tr").all_inner_texts()
    assert len(rows) == 3
    assert all("certified" in row and "fp32" in row and "cpu" in row for row in rows)


@pytest.mark.parametrize("width", [320, 768, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out(browser: Any, server: Server, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(f"http://127.0.0.1:{server.port}")
    page.wait_for_selector("[role=tab]")
    for name in ("Clean", "Recognize", "Make"):
        page.get_by_role("tab", name=name).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    lightness = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    )
    assert (lightness < 60) == (scheme == "dark")
    page.close()


def test_every_control_has_a_name(page: Any) -> None:
    for name in ("Clean", "Recognize", "Make"):
        page.get_by_role("tab", name=name).click()
        for one in page.locator(
            "button:visible, input:visible, select:visible, canvas:visible"
        ).all():
            named = one.evaluate(
                "one => (one.ariaLabel || one.innerText || [...(one.labels ?? [])]"
                ".map(label => label.innerText).join('')).trim()"
            )  # fmt: skip
            assert named, one.evaluate("one => one.outerHTML")


def test_docs_work_without_the_web(page: Any, server: Server) -> None:
    page.goto(f"http://127.0.0.1:{server.port}/docs")
    page.wait_for_selector("article")
    text = page.locator("main").inner_text()
    assert "/recognize" in text
    assert "/v2/models/{name}/infer" in text


def test_a_key_is_asked_for_once(browser: Any) -> None:
    with serving({"digits": "digits"}, key=KEY) as server:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.port}")
        page.get_by_label("This server asks for its key").fill(KEY)
        page.get_by_role("button", name="Go on").click()
        page.wait_for_selector("#rows tr")
        assert "digits" in page.locator("#rows").inner_text()
        page.close()


if CHROMIUM is None:
    warnings.filterwarnings("default", message="the page is not tested")
    warnings.warn("the page is not tested: no chromium is installed", stacklevel=1)
    for _name in [name for name in globals() if name.startswith("test_")]:
        del globals()[_name]
