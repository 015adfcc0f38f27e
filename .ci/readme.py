"""README.md from nbs/index.ipynb: its text, and the outputs of its hidden cells.
`--check` only says whether README.md is up to date."""
import base64, json, re, sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent

def output(out, name):
    "One output of a cell as markdown; pictures go to nbs/images."
    data = out.get("data", {})
    def text(key):
        return "".join(data[key])
    if "image/png" in data:
        files[f"nbs/images/{name}.png"] = base64.b64decode(text("image/png"))
        return f"![{name}](nbs/images/{name}.png)"
    if "text/markdown" in data: return text("text/markdown")
    if "text/html" in data: return re.sub(r"\n\s*\n", "\n", text("text/html"))
    return "```\n" + ("".join(out["text"]) if "text" in out
                      else text("text/plain")).rstrip() + "\n```"

files, parts = {}, []
for cell in json.loads((root/"nbs/index.ipynb").read_text())["cells"]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        parts.append(source)
    elif not re.search(r"^#\s*\|\s*hide", source, re.M):
        if not re.search(r"^#\s*\|\s*echo:\s*false", source, re.M):
            parts.append(f"```python\n{source}\n```")
        parts += [output(o, f"index-{len(files) + 1}") for o in cell["outputs"]]
text = "\n\n".join(p.strip() for p in parts) + "\n"
text = re.sub(r"\]\((\w+\.ipynb(#[^)]*)?)\)", r"](nbs/\1)", text).replace("](../", "](")
files["README.md"] = text.encode()

stale = [name for name, content in files.items()
         if not (root/name).is_file() or (root/name).read_bytes() != content]
if "--check" in sys.argv:
    sys.exit(f"stale: {', '.join(stale)}; run python .ci/readme.py" if stale else 0)
for name in stale:
    (root/name).parent.mkdir(exist_ok=True)
    (root/name).write_bytes(files[name])
