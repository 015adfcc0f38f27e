"""Cells marked `#| slow` or `#| gpu` run only if `slow_cell`, the switch, lets them, and they write
to runs/, as benchmarks do. Only `score_nb store` writes to data/runs/.

  python .ci/slow_cells.py    fails for cells without the switch, or that name a place in data/
"""
import ast, json, re
from pathlib import Path

root = Path(__file__).parent.parent

def names_data(code):
    "Whether some code names a place below data/ other than the embedded model."
    for node in ast.walk(code):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.search(r"(^|/)data/(?!tiny)", node.value): return True
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "data_path":
            if not node.args or getattr(node.args[0], "value", "") != "tiny": return True
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
    return {node.id for node in ast.walk(code)
            if isinstance(node, ast.Name) and isinstance(node.ctx, kind)}

def places(code):
    "Names that are set to a place below data/."
    statements = [node for node in ast.walk(code) if isinstance(node, ast.Assign)]
    return {name for s in statements for target, value in pairs(s) if names_data(value)
            for name in names_in(target, ast.Store)}

def faults(cells):
    """Positions of the marked cells, among the sources of a page's code cells, that name a place
    below data/, themselves or by a name of another cell."""
    marked = [bool(re.search(r"^#\| *(slow|gpu)\b", source, re.M)) for source in cells]
    parsed = [ast.parse(source) if slow or "data" in source else None
              for source, slow in zip(cells, marked)]
    known = {name for code, slow in zip(parsed, marked) if code and not slow
             for name in places(code)}
    found = []
    for i, (code, slow) in enumerate(zip(parsed, marked)):
        if slow and (names_data(code)
                     or known & names_in(code, ast.Load) - names_in(code, ast.Store)):
            found.append(i)
    return found

def without_switch(source):
    """Whether a marked cell does something outside an `if slow_cell(...)`, beside importing and
    defining."""
    if not re.search(r"^#\| *(slow|gpu)\b", source, re.M): return False
    allowed = ast.Import, ast.ImportFrom, ast.FunctionDef
    others = [s for s in ast.parse(source).body if not isinstance(s, allowed)]
    return not all(isinstance(s, ast.If) and "slow_cell(" in ast.unparse(s.test) for s in others)

def page(file):
    "Sources of a notebook's code cells."
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    # lines for IPython
    return [re.sub(r"^(\s*)[%!][a-z].*", r"\1pass", source, flags=re.M) for source in sources]

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
