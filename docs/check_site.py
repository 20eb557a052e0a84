"""Check a built site: links, anchors, images, the API's completeness, and phones.

``python docs/check_site.py build/site`` reads every page of the built HTML. Within the site, each
link leads to a page and each anchor to a place on it; each image is there and has a text
alternative; every public name of the library has an entry. Then Chromium, where there is one, loads
each page as wide as a phone: no page may scroll sideways, and every image must show. Without it
that part is left out, and the last line says so. Links to other sites are not followed.
"""

import argparse
import importlib
import inspect
import json
import pkgutil
import shutil
import subprocess
import sys
import tempfile
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.util.inventory import InventoryFile

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_PHONE_WIDTH = 390
_BROWSER_SECONDS = 300
# What the library's own modules share, under names that need no underscore to keep users away.
_INTERNAL = {
    "skdistort.__main__",
    "skdistort.displays.import_matplotlib",
    "skdistort.persistence.PersistenceMixin",
}

# Loads each page in a frame as wide as a phone, one after the other, and sends what it saw.
_LOADER = """<!doctype html><title>phone</title><body><script>
const pages = %s, found = [];
function look(frame, page) {
  const seen = frame.contentDocument, view = frame.contentWindow, width = view.innerWidth;
  if (seen.documentElement.scrollWidth > width) found.push(`${page} scrolls sideways on a phone`);
  // A theme may scroll or hide all that is too wide: only a part of an article may scroll.
  const scrolls = e => e.tagName !== "ARTICLE" && (scrolls(e.parentElement)
    || /auto|scroll/.test(view.getComputedStyle(e).overflowX));
  const cut = [...seen.querySelectorAll("article *")].filter(
    e => e.getBoundingClientRect().right > width + 1 && !scrolls(e));
  if (cut.length) found.push(`${page}: too wide for a phone: ${cut[0].outerHTML.slice(0, 80)}`);
  for (const image of seen.images) {
    image.loading = "eager";
    if (image.complete && !image.naturalWidth) found.push(`${page}: ${image.src} does not show`);
  }
}
async function visit() {
  for (const page of pages) {
    const frame = document.createElement("iframe");
    frame.style = "width: %dpx; height: 800px; border: 0";
    frame.src = page;
    await new Promise(done => { frame.onload = done; document.body.append(frame); });
    await frame.contentDocument.fonts.ready;
    look(frame, page);
    frame.remove();
  }
  await fetch("/_report", {method: "POST", body: JSON.stringify(found)});
}
visit();
</script>"""


class Page(HTMLParser):
    """What one page holds: anchors, links and images.

    Parameters
    ----------
    text : str
        The page's HTML.
    """

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.images, self.problems = set(), [], [], []
        self.fits_phones = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note what is of interest in a tag."""
        attrs = dict(attrs)
        self.anchors |= {attrs[a] for a in ("id", "name") if attrs.get(a)}
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])
        elif tag in ("link", "script"):
            source = attrs.get("href") or attrs.get("src")
            if source and attrs.get("rel") != "canonical":
                self.images.append(source)
                if urlsplit(source).netloc:
                    self.problems.append(f"fetches {source} from another site")
        elif tag == "img":
            self.images.append(attrs.get("src", ""))
            # The gallery's thumbnails stand beside their title.
            if not attrs.get("alt") and not attrs.get("src", "").endswith("_thumb.png"):
                self.problems.append(f"image {attrs.get('src')} has no text alternative")
        elif tag == "meta" and attrs.get("name") == "viewport":
            self.fits_phones = "width=device-width" in attrs.get("content", "")


def check_pages(site):
    """Check links, anchors and images of all pages.

    Parameters
    ----------
    site : Path
        Folder of the built HTML.

    Returns
    -------
    list of str
        What is wrong.
    """
    pages = {p: Page(p.read_text(encoding="utf-8")) for p in sorted(site.rglob("*.html"))}
    problems = []
    for path, page in pages.items():
        name = path.relative_to(site)
        problems += [f"{name}: {problem}" for problem in page.problems]
        if not page.fits_phones:
            problems.append(f"{name}: no viewport for phones")
        for link in page.links + page.images:
            target, anchor = _target(path, link)
            if target is None:
                continue
            if not target.is_file():
                problems.append(f"{name}: {link} leads nowhere")
            elif anchor and target in pages and anchor not in pages[target].anchors:
                problems.append(f"{name}: {link} names no place on that page")
    return problems


def check_reference(site):
    """Check that every public name of the library has an entry.

    Parameters
    ----------
    site : Path
        Folder of the built HTML.

    Returns
    -------
    list of str
        What is missing.
    """
    with open(site / "objects.inv", "rb") as file:
        inventory = InventoryFile.loads(file.read(), uri="")
    documented = {
        name for kind, names in inventory.data.items() if kind[:3] == "py:" for name in names
    }
    return [f"api: {n[0]} has no entry" for n in _public_names() if documented.isdisjoint(n)]


def check_on_phone(site, browser):
    """Load every page in a browser, as wide as a phone.

    Parameters
    ----------
    site : Path
        Folder of the built HTML.
    browser : str
        Chromium's program.

    Returns
    -------
    list of str
        What is wrong.
    """
    pages = [f"/{p.relative_to(site).as_posix()}" for p in sorted(site.rglob("*.html"))]
    handler = partial(_Handler, directory=str(site))
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        tempfile.TemporaryDirectory() as own,
    ):
        server.loader = _LOADER % (json.dumps(pages), _PHONE_WIDTH)
        server.report, server.reported = None, threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={own}"]
        address = f"http://127.0.0.1:{server.server_port}/_loader"
        process = subprocess.Popen(
            [browser, *options, "--remote-debugging-port=0", address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            if not server.reported.wait(_BROWSER_SECONDS):
                return [f"{browser} did not get through {len(pages)} pages"]
        finally:
            process.terminate()
            process.wait()
            server.shutdown()
        return server.report


class _Handler(SimpleHTTPRequestHandler):
    """Serves the site, the page that loads all others, and takes that one's report."""

    def do_GET(self):
        if self.path != "/_loader":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        return self.wfile.write(self.server.loader.encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.report = json.loads(body)
        self.send_response(204)
        self.end_headers()
        self.server.reported.set()

    def log_message(self, *_):
        """Keep silent."""


def _target(page, link):
    """File and anchor that a link on a page leads to; None where it is on another site."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None, None
    target = page if not parts.path else (page.parent / unquote(parts.path)).resolve()
    return (target / "index.html" if target.is_dir() else target), unquote(parts.fragment)


def _public_names():
    """Name every public class and function, under each name that it may be documented by."""
    package = importlib.import_module("skdistort")
    modules = [m.name for m in pkgutil.walk_packages(package.__path__, "skdistort.")]
    top = {id(getattr(package, name)): f"skdistort.{name}" for name in package.__all__}
    names_of = {}
    for module_name in modules:
        if module_name in _INTERNAL or "._" in module_name:
            continue
        module = importlib.import_module(module_name)
        own = [
            name
            for name, thing in vars(module).items()
            if inspect.isroutine(thing) or inspect.isclass(thing)
            if thing.__module__ == module_name and not name.startswith("_")
        ]
        for name in getattr(module, "__all__", own):
            if f"{module_name}.{name}" not in _INTERNAL:
                thing = id(getattr(module, name))
                names_of.setdefault(thing, [top[thing]] if thing in top else [])
                names_of[thing].append(f"{module_name}.{name}")
    return names_of.values()


def main():
    """Check the site that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path, help="folder of the built HTML")
    parser.add_argument("--browser", help="Chromium's program; found by itself otherwise")
    options = parser.parse_args()
    site = options.site.resolve()
    if not (site / "index.html").is_file():
        parser.error(f"{site} holds no index.html: build the site first.")
    problems = check_pages(site) + check_reference(site)
    browser = options.browser or next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser:
        problems += check_on_phone(site, browser)
    for problem in problems:
        print(problem)
    n_pages = len(list(site.rglob("*.html")))
    phones = "in a browser too" if browser else "NOT in a browser, for no Chromium is installed"
    print(f"{n_pages} pages checked, {phones}: {len(problems)} problem(s).")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
