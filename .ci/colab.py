"""Every page opens in Colab: a badge in its first cell, then a code cell that installs the package.

  python .ci/colab.py            writes them into nbs/*.ipynb, from settings.ini
  python .ci/colab.py --check    only says which pages lack them

On Colab the cell clones the branch that the badge opens and installs from that clone, with the
extra `nb`: so the page, the package and the stored runs are of one commit, and the versions are
those of the tests. Only torch stays Colab's own, because it has to fit the driver there.
"""
import json, sys
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parent.parent
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
CELL = """#| hide
#| eval: false
# On Colab this installs the package and fetches its files; elsewhere it does nothing.
import os, sys
if "google.colab" in sys.modules and not os.path.exists("index.ipynb"):
    !git clone --quiet --depth 1 --branch {branch} {git_url} {repo}
    %pip install --quiet "./{repo}[nb]"
    %cd -q {repo}/nbs"""

def settings():
    "What settings.ini says."
    config = ConfigParser(delimiters=["="], interpolation=None)
    config.read(ROOT/"settings.ini", encoding="utf-8")
    return config["DEFAULT"]

def badge(page, config):
    "The badge of a page, a line of Markdown."
    repository = config["git_url"].removeprefix("https://github.com/")
    branch = config["branch"]
    place = f"github/{repository}/blob/{branch}/nbs/{page}"
    return f"[![Open in Colab]({BADGE})](https://colab.research.google.com/{place})"

def with_badge(text, line):
    "A page's first cell with the badge below its claim, the line that begins with `>`."
    blocks = [block for block in text.split("\n\n") if BADGE not in block]
    claims = [block for block in blocks if block.startswith(">")]
    below = blocks.index(claims[0]) + 1
    blocks.insert(below, line)
    return "\n\n".join(blocks)

def with_colab(notebook, page, config):
    "A notebook with its badge and its cell."
    first, *others = notebook["cells"]
    text = "".join(first["source"])
    text = with_badge(text, badge(page, config))
    first = first | {"source": text.splitlines(keepends=True)}
    source = CELL.format(**config).splitlines(keepends=True)
    cell = dict(cell_type="code", id="colab", source=source, metadata={}, execution_count=None,
                outputs=[])
    kept = [other for other in others if other["id"] != "colab"]
    cells = [first, cell, *kept]
    return notebook | {"cells": cells}

def main():
    "Write or check all pages."
    config, stale = settings(), []
    for path in sorted(ROOT.glob("nbs/*.ipynb")):
        before = path.read_text(encoding="utf-8")
        notebook = with_colab(json.loads(before), path.name, config)
        after = json.dumps(notebook, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
        if before == after: continue
        stale.append(path.name)
        if "--check" not in sys.argv:
            path.write_text(after, encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.exit(f"without the badge or the cell of .ci/colab.py: {', '.join(stale)}")

if __name__ == "__main__":
    main()
