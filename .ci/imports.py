"""Imports form no circle, and on the course each page builds on those before it.

  python .ci/imports.py    fails for a circle among the modules, and for a page of the course that
                           imports from a later page of the course or from the pages of evidence
"""
import ast, json, re, sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent

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

def every_import(pages):
    "(page, module that its cell is part of, module that it imports), for every exported cell."
    for path in pages:
        own = own_module(path)
        for name, source in exported_cells(path):
            for other in imported(source):
                yield path.stem, name or own, other

def group(page):
    "The first digit of a page's number: 0 course, 2 evidence, 3 and 4 real tasks, 5 and 6 engine."
    return int(page[0])

def circles(edges):
    "A line for the first circle of imports, none if there is none."
    graph = {}
    for _, module, other in edges:
        graph.setdefault(module, set()).add(other)
    for module in graph:
        graph[module].discard(module)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield "a circle of imports: " + " → ".join(error.args[1])

def looks_ahead(edges, home):
    "A line for each import with which a page of the course looks ahead."
    for page, _, other in edges:
        source = home[other]
        if group(page) == 0 and (group(source) == 2 or group(source) == 0 and source > page):
            yield f"{page} is a page of the course and imports {other}, which {source} makes"

def main():
    "Print what breaks the rules; fail if anything does."
    pages = sorted(path for path in ROOT.glob("nbs/*.ipynb") if path.stem[0].isdigit())
    home = {own_module(path): path.stem for path in pages if own_module(path)}
    edges = list(every_import(pages))
    sys.exit("\n".join([*circles(edges), *looks_ahead(edges, home)]) or 0)

if __name__ == "__main__":
    main()
