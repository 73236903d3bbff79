"""What mkdocs does besides: each page's Markdown beside its HTML, and `llms.txt` with all of them (llmstxt.org)."""

import shutil
from pathlib import Path
from typing import Any

_titles: dict[str, str] = {}


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> None:
    """Note the title of a page."""
    title = next((line[2:] for line in markdown.splitlines() if line.startswith("# ")), page.file.src_uri)
    _titles[page.file.src_uri] = title.replace("`", "")


def on_post_build(*, config: Any, **_: Any) -> None:
    """Write the plain pages and their list."""
    site, docs = Path(config["site_dir"]), Path(config["docs_dir"])
    lines = [f"# {config['site_name']}", "", f"> {config['site_description']}", ""]
    for name, title in sorted(_titles.items()):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(docs / name, site / name)
        lines.append(f"- [{title}]({name})")
    (site / "llms.txt").write_text("\n".join(lines) + "\n")
