"""A person at the studio's page: headless Chromium that drops photographs, draws and presses buttons."""

import json
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from helpers.paths import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
DRIVER = shutil.which("chromedriver")


class Server:
    """`tools/studio.py` in a process of its own, on a free port."""

    def __init__(self, log: Path, *words: str, wait: float = 120):
        command = [sys.executable, "-u", str(ROOT / "tools/studio.py"), "--port", "0", *words]
        self.log = log  # a file: a pipe that nobody reads stops who writes to it
        with log.open("w") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, cwd=ROOT)
        until = time.monotonic() + wait
        while "open at " not in log.read_text():
            assert self.process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        self.address = log.read_text().split("open at ")[1].split()[0]

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait(20)


class Person:
    """A browser on a page, with downloads in a folder."""

    def __init__(self, address: str, folder: Path, size: tuple[int, int] = (1300, 1700)):
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for word in (
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={size[0]},{size[1]}",
        ):
            options.add_argument(word)
        self.downloads = folder / "downloads"
        self.downloads.mkdir(parents=True, exist_ok=True)
        options.add_experimental_option(
            "prefs", {"download.default_directory": str(self.downloads)}
        )
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.browser = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
        self.address = address
        self.browser.get(address)

    def __enter__(self) -> "Person":
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is not None:  # what could be seen when it failed
            self.browser.save_screenshot(str(self.downloads.parent / "failed.png"))
        self.browser.quit()

    def wait(self, condition, seconds: float = 60):
        """What a condition gives as soon as it is true."""
        return WebDriverWait(self.browser, seconds, 0.05).until(lambda _: condition())

    def find(self, selector: str):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str, seconds: float = 60):
        """The first visible element."""
        return self.wait(
            lambda: next((e for e in self.find(selector) if e.is_displayed()), None), seconds
        )

    def upload(self, files: list[Path], selector: str = "#studio-upload") -> None:
        (self.wait(lambda: self.find(f"{selector} input[type=file]"))[0]).send_keys(
            "\n".join(str(file.resolve()) for file in files)
        )

    def photos(self) -> list:
        """The photographs in the gallery."""
        return self.find("#studio-gallery .grid-wrap button.thumbnail-item")

    def captions(self) -> list[str]:
        return [photo.text.strip() for photo in self.photos()]

    def open(self, place: int) -> None:
        self.photos()[place].click()
        self.wait(lambda: f"({place + 1} of " in self.status())

    def status(self) -> str:
        """The line below the canvas: photograph, place, and its boxes; "" while an answer is waited for."""
        busy = self.find("#studio-canvas .busy")
        return "" if busy else " ".join(e.text for e in self.find("#studio-canvas .status"))

    def draw(self, box: np.ndarray) -> None:
        """Drag a box, in pixels of the photograph, on the canvas."""
        x1, y1, x2, y2 = np.asarray(box, float).tolist()
        self.drag((x1, y1), (x2, y2))

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag from one point of the photograph on the canvas to another."""
        canvas = self.one("#studio-canvas svg")
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
        points = self.browser.execute_script(
            "const [svg, ...ends] = arguments; return ends.map(([x, y]) => {"
            "const at = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM()); return [at.x, at.y]; })",
            canvas,
            start,
            end,
        )
        (x1, y1), (x2, y2) = ((round(x), round(y)) for x, y in points)
        chain = ActionBuilder(self.browser, duration=60)
        chain.pointer_action.move_to_location(x1, y1).pointer_down()
        chain.pointer_action.move_to_location((x1 + x2) // 2, (y1 + y2) // 2)
        chain.pointer_action.move_to_location(x2, y2).pointer_up()
        chain.perform()

    def boxes(self, kind: str = "") -> list[list[float]]:
        """Corners of the boxes on the canvas in pixels of the photograph; kind: ".found", ":not(.found)"."""
        return self.browser.execute_script(
            "return [...document.querySelectorAll('#studio-canvas .box:not(.under)' + arguments[0])].map("
            "(r) => ['x', 'y', 'width', 'height'].map((name) => Number(r.getAttribute(name)))"
            ").map(([x, y, w, h]) => [x, y, x + w, y + h])",
            kind,
        )

    def frame(self) -> str:
        """The part of the photograph that the canvas shows: left, top, width and height in its pixels."""
        return self.browser.execute_script(
            "return document.querySelector('#studio-canvas svg').getAttribute('viewBox')"
        )

    def keys(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        ActionChains(self.browser).send_keys(*keys).perform()

    def name(self, text: str) -> None:
        field = self.one("#studio-canvas .category")
        field.click()
        field.send_keys(text, Keys.ENTER)

    def press(self, selector: str) -> None:
        button = self.one(selector)
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()

    def said(self) -> str:
        return " ".join(element.text for element in self.find("#studio-message"))

    def download(self, press: str) -> Path:
        """Press a button that makes a file, and take it."""
        self.press(press)
        link = self.one("#studio-away a[download]")
        name = link.get_attribute("download")
        link.click()
        place = self.downloads / name
        self.wait(place.is_file)
        return place

    def outside(self) -> list[str]:
        """Addresses of other hosts that the page asked for something."""
        found = []
        for entry in self.browser.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if url.startswith("http") and not url.startswith(self.address.rstrip("/")):
                    found.append(url)
        return found


def unzipped(file: Path, to: Path) -> Path:
    with zipfile.ZipFile(file) as archive:
        archive.extractall(to)
    return to
