"""How the code of the pages and scripts reads.

  python .ci/style.py                       a table of all pages; fails if one has a fault
  python .ci/style.py nbs/01_tasks.ipynb    the faults of some pages, each with its cell and line

Faults are lines over 100 columns, statements after a colon or semicolon (but not `if x: return`),
lambdas bound to a name, nested comprehensions with conditions on two levels, long functions, and
cells of more than 60 lines (a script is no cell).
A table of data may be wider: end the first line of its statement with `# data table`.
"""
import ast, json, re, sys, tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
COLUMNS = 100
CELL_LINES = 60 # blank ones included
# the course up to Stage I, in reading order; its functions have at most 25 lines, others 40
TO_STAGE_1 = """00_score_on_one_page 01_tasks 02_models 03_rollout 04_evals 05_reinforce 06_train
07_sft 08_stage1""".split()
COURSE = TO_STAGE_1 + "09_shaping 10_stage2".split()

COMPREHENSIONS = ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp
FUNCTIONS = ast.FunctionDef, ast.AsyncFunctionDef
JUMPS = ast.Return, ast.Raise, ast.Continue, ast.Break, ast.Pass

def is_text(statement):
    "Whether a statement is only a string or an ellipsis, as in `class Late(Exception): 'why'`."
    if not isinstance(statement, ast.Expr): return False
    return isinstance(statement.value, ast.Constant)

def wide_lines(tree, lines):
    "Numbers of the lines that are too long, without those of a table of data."
    tables = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt): continue
        first, last = node.lineno, node.end_lineno
        if lines[first - 1].endswith("# data table"):
            tables.update(range(first, last + 1))
    wide = [n for n, line in enumerate(lines, 1) if len(line) > COLUMNS]
    return [n for n in wide if n not in tables]

def crowded_lines(tree, lines):
    "Numbers of the lines on which a statement stands after a colon or semicolon."
    allowed = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list) or len(body) != 1: continue
        only, = body
        if isinstance(node, ast.If) and not node.orelse and isinstance(only, JUMPS):
            allowed.add(only)
        if isinstance(node, (ast.ClassDef, *FUNCTIONS)) and is_text(only):
            allowed.add(only)
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt) or node in allowed: continue
        before = lines[node.lineno - 1].encode()[:node.col_offset]
        if before.strip():
            found.add(node.lineno)
    return sorted(found)

def named_lambdas(tree):
    "Numbers of the lines on which a lambda is bound to a name."
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)): continue
        values = getattr(node.value, "elts", [node.value])
        if any(isinstance(value, ast.Lambda) for value in values):
            found.append(node.lineno)
    return found

def has_condition(comprehension):
    "Whether a comprehension itself filters, or chooses between two values."
    if any(loop.ifs for loop in comprehension.generators): return True
    value = getattr(comprehension, "elt", None)
    return isinstance(value, ast.IfExp)

def two_level_conditions(tree):
    "Numbers of the lines of comprehensions that have conditions on two levels."
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, COMPREHENSIONS) or not has_condition(node): continue
        _, *below = ast.walk(node)
        inner = [n for n in below if isinstance(n, COMPREHENSIONS)]
        filtered = [loop for loop in node.generators if loop.ifs]
        if len(filtered) > 1 or any(map(has_condition, inner)):
            found.append(node.lineno)
    return found

def body_of(function):
    "A function's statements without its docstring."
    first, *others = function.body
    return others if is_text(first) else function.body

def body_lines(function, lines):
    "Numbers of the code lines of a function's body: no docstring, comment or blank line."
    body = body_of(function)
    if not body: return []
    numbers = range(body[0].lineno, function.end_lineno + 1)
    return [n for n in numbers if re.match(r"\s*[^\s#]", lines[n - 1])]

def body_nodes(function):
    "How many syntax nodes a function's body has."
    nodes = 0
    for statement in body_of(function):
        nodes += sum(1 for _ in ast.walk(statement))
    return nodes

def filled(lines):
    "How many lines are not blank."
    return sum(bool(line.strip()) for line in lines)

def outer_functions(tree):
    "The functions of a module and of its classes, not those inside another function."
    queue = list(tree.body)
    while queue:
        node = queue.pop()
        if isinstance(node, FUNCTIONS):
            yield node
        else:
            queue += ast.iter_child_nodes(node)

def parts(path):
    "(number of words, [(position, source)] of the code): of a notebook's cells, or of a script."
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py": return 0, [(0, text)]
    words, code = 0, []
    for position, cell in enumerate(json.loads(text)["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            words += len(source.split())
        if cell["cell_type"] != "code" or source.startswith("%%"): continue
        if cell["id"] == "colab": continue # the same on every page, see colab.py
        source = re.sub(r"^(\s*)[%!][a-z].*", r"\1pass", source, flags=re.M) # a line for IPython
        code.append((position, source))
    return words, code

COUNTED = """lines wide crowded lambdas two_level long longest large body_lines
body_nodes""".split()

def measure(path):
    "What there is to say about one page, as a dict; `faults` holds (cell, line, text)."
    words, code = parts(path)
    most = 25 if path.stem in COURSE else 40
    page = dict.fromkeys(COUNTED, 0) | dict(name=path.stem, words=words, faults=[])
    for position, source in code:
        lines, tree = source.split("\n"), ast.parse(source)
        page["lines"] += filled(lines)
        kinds = dict(
            wide=wide_lines(tree, lines),
            crowded=crowded_lines(tree, lines),
            lambdas=named_lambdas(tree),
            two_level=two_level_conditions(tree),
            long=[],
            large=[])
        if path.suffix == ".ipynb" and len(lines) > CELL_LINES:
            kinds["large"].append(1)
        for function in outer_functions(tree):
            length = len(body_lines(function, lines))
            page["longest"] = max(page["longest"], length)
            page["body_lines"] += length
            page["body_nodes"] += body_nodes(function)
            if length > most:
                kinds["long"].append(function.lineno)
        for kind, numbers in kinds.items():
            page[kind] += len(numbers)
            for n in numbers:
                line = lines[n - 1].strip()
                page["faults"].append((position, n, f"{kind}: {line[:70]}"))
    return page

def total(pages, name):
    "A figure of several pages together."
    return sum(page[name] for page in pages)

def density(pages):
    "Syntax nodes per line of function body."
    nodes, lines = total(pages, "body_nodes"), total(pages, "body_lines")
    return nodes/max(1, lines)

def table(pages):
    "The report: a row per page, then the totals."
    columns = "lines wide crowded lambdas two_level long longest large".split()
    heads = "".join(column.rjust(10) for column in columns)
    print("page".ljust(22) + heads + "  nodes/line   words")
    for page in pages:
        name, words = page["name"], page["words"]
        cells = "".join(f"{page[column]:10}" for column in columns)
        print(f"{name:22}{cells}{density([page]):12.1f}{words:8}")
    lines, nodes = total(pages, "lines"), density(pages)
    wide = total(pages, "wide")/lines
    longest = max(page["longest"] for page in pages)
    print(f"all: {lines} lines of code, {wide:.1%} of them over {COLUMNS} columns, "
          f"{nodes:.1f} syntax nodes per line, longest function {longest} lines")
    course = [page for page in pages if page["name"] in TO_STAGE_1]
    words, lines = total(course, "words"), total(course, "lines")
    print(f"the course to Stage I: {words} words, {lines} lines of code, "
          f"{density(course):.1f} syntax nodes per line")

def main():
    "Report, and fail for faults of the named pages, else of all."
    named = [Path(name) for name in sys.argv[1:]]
    kinds = "nbs/*.ipynb", "benchmarks/*.ipynb", "benchmarks/*.py", "docs/*.py", ".ci/*.py"
    every = [path for kind in kinds for path in sorted(ROOT.glob(kind))]
    pages = [measure(path) for path in named or every]
    told = []
    if not named:
        table(pages)
        missing = {*COURSE} - {page["name"] for page in pages}
        told += [f"{name}: listed here, but no such page" for name in sorted(missing)]
    for page in pages:
        for cell, line, text in page["faults"]:
            told.append(f"{page['name']} cell {cell} line {line}: {text}")
    sys.exit("\n".join(told) or 0)

def check_itself():
    "Each kind of fault is found, and what is allowed is not."
    sample = ("f = lambda: 0\nif f: g()\nfor x in f: pass; h()\n"
              "y = [[a for a in b if a] for b in c if b]\nz = [a for b in c if b for a in b if a]\n"
              f"t = ['{'x'*100}'] # data table\nu = '{'x'*100}'\n"
              "def g():\n    if f: return\n    for x in f:\n        pass\n"
              "class Late(Exception): 'why'\nw = [[a for a in b if a] for b in c]\n")
    lines, tree = sample.split("\n"), ast.parse(sample)
    found = named_lambdas(tree), crowded_lines(tree, lines), two_level_conditions(tree)
    assert found == ([1], [2, 3], [4, 5]), found
    assert wide_lines(tree, lines) == [7], wide_lines(tree, lines)
    assert [len(body_lines(function, lines)) for function in outer_functions(tree)] == [3]
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder)/"sample.ipynb"
        def faults(source):
            cell = {"cell_type": "code", "id": "a", "source": source}
            page.write_text(json.dumps({"cells": [cell]}), encoding="utf-8")
            return [text for _, _, text in measure(page)["faults"]]
        assert faults("\n".join(["x = 1"]*60)) == []
        assert faults("\n".join(["x = 1"]*61)) == ["large: x = 1"]

if __name__ == "__main__":
    check_itself()
    main()
