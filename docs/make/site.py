"""Hooks of MkDocs: pages for the source files that the documentation links to, and colours of code.

The pages link to files of the repository, such as `../../minibert/by_hand.py`. On the site each of
these files is a plain page of its own.
"""

import json
import posixpath
import re
from html import escape
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"(?<=\]\()(\.\.?/[^)#\s]+)(#[^)\s]*)?")
NOT_ON_THE_SITE = "docs/make/"  # the only folder of docs/ that pages link to and MkDocs leaves out
OWN_STYLE = """
pre, table { overflow-x: auto; }
table { display: block; }
h1, h2, h3, li, p { overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; }
"""
INDENTATION = re.compile(r"(<pre.*?</pre>)|\n\s+", re.DOTALL)  # of HTML; that of code is kept
PLAIN = re.compile(r'<span class="[npw]">([^<]*)</span>')  # names, punctuation: no colour of theirs
STYLES = {"light": "default", "dark": "github-dark"}  # of Pygments by mode of the site


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the anchors of headings as GitHub does."""
    config.mdx_configs["toc"]["slugify"] = slugify
    return config


def slugify(heading: str, separator: str) -> str:
    """Return the anchor of a heading (str); a selector may not begin with a chapter's number."""
    words = re.sub(r"[^\w\s-]", "", heading.lower()).strip()
    return re.sub(r"\s", separator, re.sub(r"^\d+\s*", "", words))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file that a page links to and that MkDocs does not copy."""
    pages = [file.src_uri for file in files.documentation_pages()]
    targets = {path for page in pages for path in linked((DOCS / page).read_text("utf-8"), page)}
    for path in sorted(targets):
        file = File.generated(config, source_page(path), content=content(path))
        file.inclusion = InclusionLevel.INCLUDED  # although exclude_docs names make/
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return the page with links to files of the repository replaced by links to their pages.

    These pages show the plain file, so they have no anchors.
    """
    here = posixpath.dirname(page.file.src_uri)

    def replace(found: re.Match[str]) -> str:
        path = outside(found[1], page.file.src_uri)
        return posixpath.relpath(source_page(path), here) if path else found[0]

    return LINK.sub(replace, markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Return the HTML of a page without its indentation and without marks of uncoloured code.

    The first was 6 % of the site, the second 10 %.
    """
    return PLAIN.sub(r"\1", INDENTATION.sub(lambda found: found[1] or "\n", output))


def on_post_build(config: MkDocsConfig) -> None:
    """Write the style sheets, and remove what readers do not need."""
    site = Path(config.site_dir)
    for theme, style in STYLES.items():
        colours = HtmlFormatter(style=style).get_style_defs(".codehilite")
        (site / f"{theme}.css").write_text(colours + OWN_STYLE, "utf-8")
    # Every browser that the theme supports takes the fonts as woff2, and no page shows a brand.
    for path in [*site.rglob("*.map"), *site.rglob("*.ttf"), *site.rglob("fa-brands*.woff2")]:
        path.unlink()
    # The code is not searched, and the reference only for names: they would be most of the index.
    path = site / "search" / "search_index.json"
    index = json.loads(path.read_text("utf-8"))
    index["docs"] = [
        one | {"text": ""} if one["location"].startswith("reference/") else one
        for one in index["docs"]
        if not one["location"].startswith("source/")
    ]
    path.write_text(json.dumps(index, ensure_ascii=False, separators=(",", ":")), "utf-8")


def linked(markdown: str, page: str) -> set[str]:
    """Return the files that a page links to and that MkDocs does not copy (set of str)."""
    return {path for link, _ in LINK.findall(markdown) if (path := outside(link, page))}


def outside(link: str, page: str) -> str | None:
    """Return the path in the repository of a link's target, or None if MkDocs copies it."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    is_copied = path.startswith("docs/") and not path.startswith(NOT_ON_THE_SITE)
    return path if not is_copied and (ROOT / path).exists() else None


def source_page(path: str) -> str:
    """Return the page of a file of the repository (str)."""
    return f"source/{path}.html"


def content(path: str) -> str:
    """Return the HTML page of a source file (str); that of a folder lists its files."""
    file = ROOT / path
    if file.is_dir():
        names = sorted(one.name for one in file.iterdir() if not one.name.startswith(("_", ".")))
        text = "\n".join(names)
    else:
        text = file.read_text("utf-8")
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(path)}</title>\n'
        '<meta name="viewport" content="width=device-width">'
        "<style>:root { color-scheme: light dark; } pre { white-space: pre-wrap; }</style>\n"
        f"<h1>{escape(path)}</h1>\n<pre>{escape(text, quote=False)}</pre></html>\n"
    )
