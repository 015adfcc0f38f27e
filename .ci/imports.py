"""Modules import only from modules of earlier pages.

  python .ci/imports.py    fails for an import of a later page, in any exported cell
"""
import ast, json, re, sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
# (page, module) pairs that are known to look ahead; the list is to become empty
AHEAD = {
    ("01b_real_tasks", "answer_extraction"), ("01b_real_tasks", "grading"),
    ("01b_real_tasks", "programs"), ("01c_your_problems", "equality"),
    ("01c_your_problems", "grading"), ("01c_your_problems", "programs"),
    ("02_grading", "sandbox"), ("06b_imitation", "train"), ("14a_when", "pretrain"),
    ("17_cli", "use"), ("17_cli", "onnx_export"), ("17_cli", "pretrain")}

def exported_cells(path):
    "(module or '', source) of a page's exported cells; '' is the page's own module."
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        mark = re.search(r"^#\s*\|\s*export[ \t]*(\w*)", source, re.M)
        if cell["cell_type"] == "code" and mark:
            yield mark[1], source

def own_module(path):
    "The module that a page makes, '' if it makes none."
    text = path.read_text(encoding="utf-8")
    found = re.search(r'"#\s*\|\s*default_exp (\w+)', text)
    return found[1] if found else ""

def imported(source):
    "Modules of this package that some code imports, at its head or inside functions."
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ImportFrom): continue
        if node.module == "score_nb":
            yield from (alias.name for alias in node.names if not alias.name.startswith("__"))
        elif (node.module or "").startswith("score_nb."):
            yield node.module.split(".")[1]

def main():
    "Compare every import with the order of the pages, which is that of their file names."
    pages = sorted(ROOT.glob("nbs/*.ipynb"))
    home = {own_module(path): place for place, path in enumerate(pages) if own_module(path)}
    found = {(path.stem, name) for place, path in enumerate(pages)
             for _, source in exported_cells(path) for name in imported(source)
             if home[name] > place}
    told = [f"{page} imports {name}, which {pages[home[name]].stem} makes"
            for page, name in sorted(found - AHEAD)]
    told += [f"{page} no longer looks ahead to {name}: take it from AHEAD"
             for page, name in sorted(AHEAD - found)]
    sys.exit("\n".join(told) or 0)

if __name__ == "__main__":
    main()
