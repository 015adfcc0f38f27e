"""Cells marked `#| slow` or `#| gpu` run only if `slow_cell`, the switch, lets them, and they write
to runs/, as benchmarks do. Only `score_nb store` writes to data/runs/.

  python .ci/slow_cells.py    fails for cells without the switch, or that name a place in data/
"""
import ast, json, re
from pathlib import Path

root = Path(__file__).parent.parent

def is_marked(source):
    "Whether a cell takes long or needs a GPU."
    return re.search(r"^#\| *(slow|gpu)\b", source, re.M) is not None

def is_place(text):
    "Whether a text is a place below data/ other than the embedded model."
    return re.search(r"(^|/)data/(?!tiny)", text) is not None

def names_data(code):
    "Whether some code names a place below data/ other than the embedded model."
    for node in ast.walk(code):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if is_place(node.value): return True
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "data_path":
            first = node.args[0] if node.args else None
            if getattr(first, "value", "") != "tiny": return True
    return False

def pairs(statement):
    "(target, value) of an assignment; one for each part of `a, b = x, y`."
    value, targets = statement.value, statement.targets
    for target in targets:
        both = [getattr(side, "elts", None) for side in (target, value)]
        if all(both) and len(both[0]) == len(both[1]):
            yield from zip(*both)
        else:
            yield target, value

def names_in(code, kind):
    "Names that some code reads (ast.Load) or sets (ast.Store)."
    names = [node for node in ast.walk(code) if isinstance(node, ast.Name)]
    return {name.id for name in names if isinstance(name.ctx, kind)}

def places(code):
    "Names that are set to a place below data/."
    found = set()
    for node in ast.walk(code):
        if not isinstance(node, ast.Assign): continue
        for target, value in pairs(node):
            if names_data(value):
                found |= names_in(target, ast.Store)
    return found

def faults(cells):
    """Positions of the marked cells, among the sources of a page's code cells, that name a place
    below data/, themselves or by a name of another cell."""
    known = set()
    for source in cells:
        if "data" in source and not is_marked(source):
            known |= places(ast.parse(source))
    found = []
    for i, source in enumerate(cells):
        if not is_marked(source): continue
        code = ast.parse(source)
        from_elsewhere = names_in(code, ast.Load) - names_in(code, ast.Store)
        if names_data(code) or known & from_elsewhere:
            found.append(i)
    return found

def without_switch(source):
    """Whether a marked cell does something outside an `if slow_cell(...)`, beside importing and
    defining."""
    if not is_marked(source): return False
    for statement in ast.parse(source).body:
        if isinstance(statement, (ast.Import, ast.ImportFrom, ast.FunctionDef)): continue
        if not isinstance(statement, ast.If): return True
        if "slow_cell(" not in ast.unparse(statement.test): return True
    return False

def page(file):
    "Sources of a notebook's code cells."
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    sources = []
    for cell in cells:
        if cell["cell_type"] != "code": continue
        source = "".join(cell["source"])
        source = re.sub(r"^(\s*)[%!][a-z].*", r"\1pass", source, flags=re.M) # a line for IPython
        sources.append(source)
    return sources

for bad in (['#| slow\nwrite_atomic(data_path("runs", "x.jsonl"), "")'],
            ['#| slow\nfor d in "ab": write_atomic(f"../data/runs/{d}", "")'],
            ['out, n = data_path("runs"), 3', '#| slow\nwrite_atomic(out/"x.jsonl", "")']):
    assert faults(bad), f"not found: {bad}"
assert not faults(['out = data_path("runs")',
                   '#| slow\nout, base = Path("../runs"), '
                   'data_path("tiny")\nwrite_atomic(out/"x.jsonl", "")'])

assert without_switch("#| slow\ntrain()")
assert not without_switch("#| slow\nif slow_cell('an hour'):\n    train()")

pages = [*sorted(root.glob("nbs/*.ipynb")), *sorted(root.glob("benchmarks/*.ipynb"))]
told = [f"{file.relative_to(root)}, code cell {i + 1}: names a place below data/; write to ../runs/"
        for file in pages for i in faults(page(file))]
told += [f"{file.relative_to(root)}, code cell {i + 1}: slow, but not behind `if slow_cell(...)`"
         for file in pages for i, source in enumerate(page(file)) if without_switch(source)]
scripts = [file for file in sorted(root.glob("benchmarks/*.py"))
           if names_data(ast.parse(file.read_text(encoding="utf-8")))]
told += [f"{file.relative_to(root)}: names a place below data/; write to runs/" for file in scripts]
raise SystemExit("\n".join(told) or 0)
