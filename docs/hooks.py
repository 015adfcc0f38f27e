"""The pages of the site, for MkDocs: the course from the notebooks, the API from the modules."""
import ast, base64, html, io, json, posixpath, re, tokenize
from pathlib import Path
from latex2mathml.converter import convert
from mkdocs.structure.files import File

root = Path(__file__).resolve().parent.parent
SOURCE = "https://github.com/score-nb/score_nb/blob/main"
live = Path(__file__).resolve().parent/"build"/"live" # what build.py made for the live page
SERVED = ".js", ".mjs", ".gz", ".onnx", ".json"
outputs = {} # key in a page's text -> HTML that Markdown must not touch

# ---- notebooks

def read(name):
    "Cells of a notebook: kind, source and outputs."
    notebook = json.loads((root/name).read_text(encoding="utf-8"))
    cells = []
    for cell in notebook["cells"]:
        source, results = "".join(cell["source"]), cell.get("outputs", [])
        cells.append((cell["cell_type"], source, results))
    return cells

def notebooks():
    "Names of the course's notebooks in the order in which the index links them, then the others."
    index = "\n".join(source for kind, source, _ in read("nbs/index.ipynb") if kind == "markdown")
    _, _, rest = index.partition("## The path")
    path, _, _ = rest.partition("\n## ")
    files = (root/"nbs").glob("[!_.]*.ipynb")
    there = {file.stem for file in files} - {"index"}
    links = dict.fromkeys(re.findall(r"\]\((\w+)\.ipynb\)", path))
    linked = [name for name in links if name in there]
    return linked + sorted(there - set(linked))

def first(pattern, text):
    "What a pattern finds first; an empty text if it finds nothing."
    found = re.search(pattern, text, re.M)
    return found[1] if found else ""

def facts(name):
    "A page's title, its claim, and how long it runs, as its first cell says."
    _, text, _ = read(f"nbs/{name}.ipynb")[0]
    title, claim = first(r"^# (.+)", text), first(r"^> (.+)", text)
    time = first(r"CPU,? (?:about )?(\d+ (?:s|min)\b)", text)
    return title, claim, time

def page_of(link, here, folder):
    "Where a link of a text in `folder` leads, seen from the page `here`; one elsewhere stays."
    target, _, anchor = link.partition("#")
    if "://" in target or not target:
        page = target
    else:
        place = posixpath.normpath(posixpath.join(folder, target))
        page = places.get(place)
        if page is None:
            page = f"{SOURCE}/{place}"
        else:
            page = posixpath.relpath(page, posixpath.dirname(here) or ".")
    return page + ("#" + slug(anchor) if anchor else "")

def slug(anchor):
    "A notebook's anchor as MkDocs makes it of the same heading."
    words = re.sub(r"[^\w\s-]", "", anchor)
    return re.sub(r"[-\s]+", "-", words).strip("-").lower()

ELSEWHERE = re.compile(r"!\[([^\]]*)\]\(https?://[^)]*\)") # a picture that is not the site's
LINK = re.compile(r"(?<!\\)\]\(([^)\s]+)\)")
LIST = re.compile(r"^ {0,3}(?:[-*]|\d+\.) ")

def prose(text, here, folder="nbs"):
    "A text of a notebook as MkDocs wants it: links to pages, an empty line before a list."
    def linked(match):
        return f"]({page_of(match[1], here, folder)})"
    lines, fenced = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        before = lines[-1] if lines else ""
        if not fenced:
            code = re.split(r"(`[^`]*`)", line)
            code[::2] = [LINK.sub(linked, ELSEWHERE.sub(r"\1", part)) for part in code[::2]]
            line = "".join(code).replace("<details>", '<details markdown="1">')
            inside = not before.strip() or LIST.match(before) or before.startswith("  ")
            if LIST.match(line) and not inside:
                lines.append("")
        lines.append(line)
    return "\n".join(lines)

UNSEARCHED = 'class="output" data-search-exclude'

def keep(content):
    "HTML that is put into the page after Markdown is through with the rest."
    outputs[key := f"output-{len(outputs)}"] = content
    return f'<div id="{key}"></div>'

def picture(data, name, about):
    "An image of the site, made of an output."
    place = f"course/images/{name}.png"
    pictures[place] = base64.b64decode(data)
    *_, last = about.strip().split("\n")
    words = re.sub(r"[*`$\\]|\]\([^)]*\)|\[|<[^>]+>", "", last)
    text = html.escape(words[:200])
    image = f'<img loading="lazy" src="{{base}}{place}" alt="{text}">'
    return keep(f'<p class="picture">{image}</p>')

def shown(output, name, about, here):
    "An output of a cell."
    data = output.get("data", {})
    texts = {kind: "".join(lines) for kind, lines in data.items()}
    def drawn(kind):
        return keep(f'<div {UNSEARCHED}>{texts[kind]}</div>')
    if "image/png" in texts: return picture(texts["image/png"], name, about)
    if "image/svg+xml" in texts: return drawn("image/svg+xml")
    if "text/markdown" in texts: return prose(texts["text/markdown"], here)
    if "text/html" in texts: return drawn("text/html")
    plain = "".join(output["text"]) if "text" in output else texts["text/plain"]
    escaped = html.escape(plain.rstrip())
    return keep(f'<pre {UNSEARCHED} tabindex="0">{escaped}</pre>')

def markdown_of(notebook, here):
    "A notebook as Markdown. Hidden cells stay hidden; exported ones name their module."
    parts, about, module, count = [], "", "", 0
    for kind, source, results in read(notebook):
        marks = re.findall(r"^#\s*\|\s*(\w+):?(.*)$", source, re.M)
        words = dict((word, rest.strip()) for word, rest in marks)
        module = words.get("default_exp", module)
        if kind == "markdown":
            parts.append(prose(source, here))
            about = source
        elif not {"hide", "default_exp"} & words.keys():
            code = re.sub(r"^#\s*\|.*\n?", "", source, flags=re.M).strip("\n")
            title = f"score_nb.{words['export'] or module}" if "export" in words else ""
            if {"slow", "gpu"} & words.keys():
                title = "by hand, it takes long"
            mark = f'{{.python title="{title}"}}' if title else "python"
            if "echo" not in words:
                parts.append(f"````{mark}\n{code}\n````")
            for result in merged(results):
                count += 1
                parts.append(shown(result, f"{Path(notebook).stem}-{count}", about, here))
    return "\n\n".join(parts)

def merged(results):
    "Outputs, with text that was printed in pieces in one."
    whole = []
    for result in results:
        goes_on = whole and "text" in result and "text" in whole[-1]
        if goes_on:
            whole[-1]["text"] = [*whole[-1]["text"], *result["text"]]
        else:
            whole.append(dict(result))
    return whole

def path_page(names):
    "The course as a path, with times."
    lines = ["# The course", "",
             "Read the pages in order. The time is what a page "
             "takes to run on a CPU; here every output is as it was stored.", ""]
    for name in names:
        title, claim, time = facts(name)
        takes = f" · {time}" if time else ""
        lines += [f"1. [{title}]({name}.md){takes}  ", f"    {prose(claim, 'course/index.md')}"]
    return "\n".join(lines)

# ---- API

def comments(text):
    "Comments of a module: line -> what it says."
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT: continue
        line, _ = token.start
        found[line] = token.string.lstrip("# ")
    return found

def arguments(node):
    "Arguments of a function: name, annotation, default, and the line on which it ends."
    args = node.args
    plain = [*args.posonlyargs, *args.args]
    missing = [None]*(len(plain) - len(args.defaults))
    defaults = [*missing, *args.defaults, *args.kw_defaults]
    found = []
    for argument, default in zip([*plain, *args.kwonlyargs], defaults):
        if argument.arg in ("self", "cls"): continue
        last = default or argument
        found.append((argument.arg, argument.annotation, default, last.end_lineno))
    return found

def documented(node, said):
    "Arguments and result of a function, or fields of a class and arguments of its __init__."
    if isinstance(node, ast.FunctionDef):
        back = [("returns", node.returns, None, node.returns.end_lineno)] if node.returns else []
        found = arguments(node) + back
    else:
        found = []
        for item in node.body:
            if isinstance(item, ast.AnnAssign):
                name = ast.unparse(item.target)
                found.append((name, item.annotation, item.value, item.end_lineno))
            if getattr(item, "name", "") == "__init__":
                found += arguments(item)
    last = {line: name for name, _, _, line in found} # a line's comment is that of its last name
    return [(name, kind, default, said.get(line, "") if last[line] == name else "")
            for name, kind, default, line in found]

def rows(found):
    "A table of what `documented` found; empty if nothing is said of any."
    if not any(about for *_, about in found): return []
    lines = ["| | type | default | |", "|---|---|---|---|"]
    for name, kind, default, about in found:
        about = about.replace("|", r"\|").replace("<", "&lt;")
        lines.append(f"| `{name}` | {cell(kind)} | {cell(default)} | {about} |")
    return lines

def cell(node):
    "A type or a default in a table."
    return "`" + ast.unparse(node).replace("|", r"\|") + "`" if node else ""

def signature(node):
    "How a function is called, in one line."
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(map(ast.unparse, node.bases))
        after = f"({bases})" if bases else ""
        return f"class {node.name}{after}"
    takes = ast.unparse(node.args)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({takes}){returns}"

def entry(node, said, level="##"):
    "A function or a class of a module, its public methods below."
    heading = f"{level} `{node.name}`"
    about = ast.get_docstring(node) or ""
    table = rows(documented(node, said))
    lines = [heading, "", "````python", signature(node), "````", "", about, "", *table]
    if not isinstance(node, ast.ClassDef): return lines
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
            lines += ["", *entry(inner, said, "###")]
    return lines

FROM_PAGE = re.compile(r"^# %% \.\./nbs/(\w+)\.ipynb", re.M) # a module says where its code stands

def code_of(module):
    "The text of a module."
    return (root/f"score_nb/{module}.py").read_text(encoding="utf-8")

def api_page(module):
    "What a module exports."
    text = code_of(module)
    tree = ast.parse(text)
    known = "\n".join(re.findall(r"^__all__ = (\[.*?\])", text, re.M | re.S))
    public = ast.literal_eval(known) if known else []
    links = []
    for page in dict.fromkeys(FROM_PAGE.findall(text)):
        title, _, _ = facts(page)
        links.append(f"[{title}](../course/{page}.md)")
    about = ast.get_docstring(tree) or ""
    lines = [f"# score_nb.{module}", "", about, ""]
    if links:
        lines.append(f"Explained on {', '.join(links)}.")
    said = comments(text)
    for node in tree.body:
        named = isinstance(node, (ast.FunctionDef, ast.ClassDef))
        if named and node.name in public:
            lines += ["", *entry(node, said)]
    return "\n".join(lines)

def modules(names):
    "Modules in the order of the course."
    place = {}
    for path in sorted((root/"score_nb").glob("[!_]*.py")):
        page = FROM_PAGE.search(code_of(path.stem))
        if page:
            place[path.stem] = names.index(page[1]) if page[1] in names else len(names)
    return sorted(place, key=place.get)

def api_index(names):
    "The modules, each with what it establishes."
    lines = ["# API", "", "One module a page, in the order of the course.", ""]
    for module in modules(names):
        tree = ast.parse(code_of(module))
        lines.append(f"- [score_nb.{module}]({module}.md): {ast.get_docstring(tree)}")
    return "\n".join(lines)

# ---- what MkDocs asks

places, pictures = {}, {} # file of the repository -> page; picture's place -> bytes

def on_config(config):
    "The navigation, from the notebooks' own order."
    names = notebooks()
    places.update({f"nbs/{name}.ipynb": f"course/{name}.md" for name in names})
    places.update({"nbs/index.ipynb": "index.md", "benchmarks/benchmarks.ipynb": "benchmarks.md",
                   "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changes.md"})
    course = [{label(name, names): f"course/{name}.md"} for name in names]
    api = [{f"score_nb.{module}": f"api/{module}.md"} for module in modules(names)]
    config.nav = [{"score_nb": "index.md"}, {"Watch it correct itself": "live/index.md"},
                  {"The course": ["course/index.md", *course]}, {"Benchmarks": "benchmarks.md"},
                  {"API": ["api/index.md", *api]},
                  {"Changes": "changes.md"}, {"Contributing": "contributing.md"}]
    return config

def label(name, names):
    "A page in the navigation: its number, and its title up to the colon if no other begins so."
    titles = [facts(other)[0] for other in names]
    short = [title.partition(":")[0] for title in titles]
    here = names.index(name)
    alone = short.count(short[here]) == 1
    title = short[here] if alone else titles[here]
    number, _, _ = name.partition("_")
    return f"{number} {title}"

START = """[Watch it correct itself](live/index.md){ .md-button .md-button--primary }
[Start the course](course/index.md){ .md-button }"""

def landing():
    "The index, with two ways on after its first paragraphs."
    opening, rest = markdown_of("nbs/index.ipynb", "index.md").split('<div id="output-', 1)
    return f'{opening}\n{START}\n\n<div id="output-{rest}'

def models():
    "The files of the live page: place on the site -> bytes."
    found = {}
    for path in live.rglob("*"):
        if path.suffix not in SERVED: continue
        place = path.relative_to(live).as_posix()
        found[f"live/data/{place}"] = path.read_bytes()
    return found

def on_files(files, config):
    "Every page, made of the repository's files."
    names = notebooks()
    pages = {"benchmarks/benchmarks.ipynb": "benchmarks.md"}
    pages |= {f"nbs/{name}.ipynb": f"course/{name}.md" for name in names}
    texts = {page: markdown_of(notebook, page) for notebook, page in pages.items()}
    texts |= {"index.md": landing(), "course/index.md": path_page(names)}
    texts |= {"api/index.md": api_index(names)}
    for module in modules(names):
        texts[f"api/{module}.md"] = api_page(module)
    for file in ("CHANGELOG.md", "CONTRIBUTING.md"):
        text, page = (root/file).read_text(encoding="utf-8"), places[file]
        texts[page] = prose(text, page, folder="")
    every = texts | pictures | models()
    for uri, content in every.items():
        files.append(File.generated(config, uri, content=content))
    return files

def mathml(match):
    "A formula of LaTeX as the browser draws it by itself."
    display = match[1] == "div"
    formula = html.unescape(match[2]).strip()[2:-2]
    return convert(formula, display="block" if display else "inline")

def lighter(text):
    "Code without what its colours do not need, and not searched: half of a page's weight."
    text = re.sub(r'<span class="(?:n|p|o|w|nb|mi|bp)">([^<]*)</span>', r"\1", text)
    return re.sub(r'<div class="([^"]*\bhighlight)">',
                  r'<div class="\1" data-search-exclude>', text)

def on_page_content(text, page, config, files):
    "Outputs and formulas, put in their places."
    text = lighter(text)
    above = [folder for folder in page.url.split("/") if folder]
    base = "../"*len(above)
    def output(match):
        return outputs[match[1]].replace("{base}", base)
    text = re.sub(r'<div id="(output-\d+)"></div>', output, text)
    return re.sub(r'<(div|span) class="arithmatex">(.*?)</\1>', mathml, text, flags=re.S)

def on_page_markdown(text, page, config, files):
    "What the live page says of its models."
    if page.file.src_uri != "live/index.md": return text
    held_out, origin = "", "This copy of the site was built without the models."
    if (live/"models.json").is_file():
        run = json.loads((live/"models.json").read_text(encoding="utf-8"))
        held_out = f"{run['models'][0]['stored']['n']:,}"
        origin = (f"The models here come from one run of `score_nb demo`: {run['steps']} updates "
                  f"a stage, seed {run['seed']}.")
    return text.replace("{{held_out}}", held_out).replace("{{origin}}", origin)
