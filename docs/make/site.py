"""Hooks of MkDocs: pages for the source files that the documentation links to, and colours of code.

The pages link to files of the repository, such as `../../minibert/by_hand.py`. On the site each of
these files becomes a page of its own.
"""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"(?<=\]\()(\.\.?/[^)#\s]+)")
LANGUAGES = {".py": "python", ".sh": "sh", ".toml": "toml", ".yml": "yaml"}
OWN_STYLE = """
pre, table { overflow-x: auto; }
table { display: block; }
img { max-width: 100%; height: auto; }
"""
THEMES = {"light": "default", "dark": "github-dark"}  # of the site and of Pygments


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file outside `docs/` that a page links to."""
    pages = [file.src_uri for file in files.documentation_pages()]
    targets = {path for page in pages for path in linked((DOCS / page).read_text("utf-8"), page)}
    for path in sorted(targets):
        files.append(File.generated(config, source_page(path), content=content(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return the page with links to files of the repository replaced by links to their pages."""
    here = posixpath.dirname(page.file.src_uri)

    def replace(found: re.Match[str]) -> str:
        path = outside(found[1], page.file.src_uri)
        return posixpath.relpath(source_page(path), here) if path else found[1]

    return LINK.sub(replace, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Write the style sheet, and remove what readers do not need."""
    site = Path(config.site_dir)
    rules = [
        HtmlFormatter(style=style).get_style_defs(f'[data-bs-theme="{theme}"] .codehilite')
        for theme, style in THEMES.items()
    ]
    (site / "style.css").write_text("\n".join([OWN_STYLE, *rules]), "utf-8")
    # Every browser that the theme supports takes the fonts as woff2.
    for path in [*site.rglob("*.map"), *site.rglob("*.ttf")]:
        path.unlink()
    # The code is not searched for words; its pages would be half of the index.
    path = site / "search" / "search_index.json"
    index = json.loads(path.read_text("utf-8"))
    index["docs"] = [one for one in index["docs"] if not one["location"].startswith("source/")]
    path.write_text(json.dumps(index, ensure_ascii=False, separators=(",", ":")), "utf-8")


def linked(markdown: str, page: str) -> set[str]:
    """Return the files of the repository outside `docs/` that a page links to (set of str)."""
    return {path for link in LINK.findall(markdown) if (path := outside(link, page))}


def outside(link: str, page: str) -> str | None:
    """Return the path in the repository of a link's target outside `docs/`, else None."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    return path if not path.startswith("docs/") and (ROOT / path).exists() else None


def source_page(path: str) -> str:
    """Return the page of a file of the repository (str)."""
    return f"source/{path}.md"


def content(path: str) -> str:
    """Return the Markdown of a source file's page (str); a folder's page lists its files."""
    file = ROOT / path
    if file.is_dir():
        names = sorted(one.name for one in file.iterdir() if not one.name.startswith(("_", ".")))
        return f"# {path}/\n\n" + "\n".join(f"- `{name}`" for name in names) + "\n"
    text = file.read_text("utf-8")
    if file.suffix == ".md":
        return re.sub(r"\]\((?!https?:)[^)]*\)", "]", text)  # its links lead from another folder
    return f"# {path}\n\n````{LANGUAGES.get(file.suffix, 'text')}\n{text}````\n"
