"""The code of `examples/` on pages of docs/ and in README: a block whose first line names the file has its text.

`python tests/examples.py` writes the blocks again.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
DIRECTORY = ROOT / "examples"
KINDS = {".py": "python", ".mjs": "js", ".yml": "yaml"}
"""By suffix, the language of a block."""
_BLOCK = re.compile(r"^```(\w+)\n(?:#|//) examples/([\w.-]+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def pages() -> list[Path]:
    """Pages with the code of examples."""
    return [
        path for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))) if _BLOCK.search(path.read_text())
    ]


def blocks() -> Iterator[tuple[str, str]]:
    """Name and text of each block."""
    for page in pages():
        for _, name, text in _BLOCK.findall(page.read_text()):
            yield name, text


def block(name: str) -> str:
    """How a page shows an example."""
    kind = KINDS[Path(name).suffix]
    mark = "//" if kind == "js" else "#"
    return f"```{kind}\n{mark} examples/{name}\n{(DIRECTORY / name).read_text()}```"


def renewed(page: Path) -> str:
    """The page with its blocks as they should be."""
    return _BLOCK.sub(lambda found: block(found[2]), page.read_text())


def workflow_lines() -> list[str]:
    """The commands of the workflow, in order."""
    jobs = yaml.safe_load((DIRECTORY / "github-actions.yml").read_text())["jobs"]
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


if __name__ == "__main__":
    for one in pages():
        one.write_text(renewed(one))
