"""The site that MkDocs builds: small, loads nothing else, works by keyboard and when narrow.

Needs the extras `docs` and `browser`, and a Chromium; the test of the links needs no browser.
"""

import re
import subprocess
import sys
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from os.path import normpath
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest

from tests.conftest import ARTEFACTS

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
MAX_BYTES = 5_000_000
HIGHEST = 16_384  # pixels of a picture
MAX_TABS = 60  # until the link to the first chapter
PAGES = ("index", "course/00-map", "course/06-attention", "performance", "reference/minibert")
LOADED = re.compile(r'<(?:script|img|link|iframe)[^>]*(?:src|href)="((?:https?:)?//[^"]*)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site; a warning, for example of a broken link, is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def address(site):
    """Serve the site on this machine; return its address (str)."""
    handler = partial(QuietHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, *_):
        """Print nothing."""


@pytest.fixture(params=[1280, 360])
def page(request, browser, address):
    """Open an empty page of a wide or narrow window; afterwards check what it has loaded."""
    page = browser.new_page(viewport={"width": request.param, "height": 800})
    complaints, loaded = [], []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: loaded.append(asked.url))
    yield page
    ARTEFACTS.mkdir(exist_ok=True)
    # Chromium draws no picture that is higher, and takes minutes to find out.
    is_short = page.evaluate("document.documentElement.scrollHeight") < HIGHEST
    page.screenshot(path=ARTEFACTS / f"{request.node.name}.png", full_page=is_short)
    page.close()
    assert not complaints
    assert [url for url in loaded if not url.startswith(address)] == []


def test_the_site_is_small_and_loads_nothing_from_elsewhere(site):
    files = [path for path in site.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
    for path in site.rglob("*.html"):
        assert LOADED.findall(path.read_text("utf-8")) == [], path


class Links(HTMLParser):
    """Collects the targets of the links of a page, and its anchors."""

    def __init__(self, path):
        super().__init__()
        self.targets, self.anchors = set(), set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        """Keep the attributes that are links or anchors."""
        for name, value in attributes:
            if name in ("href", "src"):
                self.targets.add(urlsplit(value))
            elif name in ("id", "name"):
                self.anchors.add(value)


def test_every_link_leads_to_a_file_and_an_anchor_of_the_site(site):
    pages = {path: Links(path) for path in site.rglob("*.html")}
    relative = {
        (path, link)
        for path, page in pages.items()
        for link in page.targets
        if not (link.scheme or link.netloc or link.path.startswith("/"))
    }
    assert len(relative) > 1000
    broken = []
    for path, link in sorted(relative):
        # normpath, because a browser takes ".." off the address, which may name no folder
        target = Path(normpath(path.parent / unquote(link.path))) if link.path else path
        anchors = pages[target].anchors | {""} if target in pages else {""}
        if not target.is_file() or unquote(link.fragment) not in anchors:
            broken.append(f"{path.relative_to(site)}: {link.geturl()}")
    assert broken == []


@pytest.mark.parametrize("name", PAGES)
def test_pages_fit_into_the_window(page, address, name):
    page.goto(f"{address}{name}.html")
    widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert widths[0] <= widths[1]
    broken = page.evaluate(
        "[...document.images].filter(one => !one.naturalWidth).map(one => one.src)"
    )
    assert broken == []


def test_the_first_link_of_the_text_is_reached_by_keyboard(page, address):
    page.goto(f"{address}index.html")
    is_link = """
        document.activeElement.getAttribute("href") === "course/00-map.html"
        && document.activeElement.closest("[role=main]") !== null
    """
    presses = 0
    while not page.evaluate(is_link) and presses < MAX_TABS:
        page.keyboard.press("Tab")
        presses += 1
    assert page.evaluate(is_link)
    page.keyboard.press("Enter")
    page.wait_for_url("**/00-map.html")
