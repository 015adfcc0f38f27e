"""The whole site, with one command:    pip install -e '.[docs,onnx]' && python docs/build.py
It takes the notebooks as they are stored, and the models of the live page from a run folder (--run;
where there is none, `score_nb demo` makes it, which takes minutes). It needs npm, which has
onnxruntime-web, and writes to _docs."""
import argparse, base64, gzip, hashlib, json, os, re, shutil, subprocess, sys, tarfile, tempfile
from collections import defaultdict
from pathlib import Path

docs = Path(__file__).resolve().parent
root, live = docs.parent, docs/"build"/"live"
RUNTIME = "onnxruntime-web", "1.30.0" # as npm knows it
DIGEST = ("q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4r"
          "KY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==") # its sha512
FILES = "ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"
BASE = "tiny-weak" # the base model of `score_nb demo`
STAGES = {"base": "Base", "stage1": "Stage I", "stage2": "SCoRe"}
TRAINED = "stage1", "stage2"

def runtime():
    "onnxruntime-web, as npm has it; what it is, is checked."
    package, known = "@".join(RUNTIME), live/"runtime.txt"
    if known.is_file() and known.read_text() == DIGEST: return
    npm = shutil.which("npm")
    if npm is None: raise SystemExit(f"npm, which has {package} for the live page, is not "
                                     "installed; install Node.js, or give --without-models")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([npm, "pack", "--silent", package], cwd=folder, check=True,
                       stdout=subprocess.DEVNULL)
        archive, = Path(folder).glob("*.tgz")
        found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != DIGEST: raise SystemExit(f"{package} is not what it was: sha512 {found}")
        with tarfile.open(archive) as packed:
            for file in FILES:
                content = packed.extractfile(f"package/dist/{file}").read()
                if file.endswith(".wasm"):
                    file, content = file + ".gz", gzip.compress(content, 9, mtime=0)
                (live/file).write_bytes(content)
    known.write_text(DIGEST)

def counts(file):
    "What an evaluation counted."
    from score_nb.core import read_jsonl
    right = defaultdict(dict) # attempt -> problem -> whether it is right
    for row in read_jsonl(file):
        right[row["attempt"]][row["problem"]] = bool(row["reward"])
    first, second = right[1], right[2]
    mended = [problem for problem in first if second[problem] > first[problem]]
    spoilt = [problem for problem in first if second[problem] < first[problem]]
    return dict(
        n=len(first),
        first=sum(first.values()),
        second=sum(second.values()),
        mended=len(mended),
        spoilt=len(spoilt))

def problems(file):
    "The evaluated problems as numbers a, x, b and the wording."
    from score_nb.core import read_jsonl
    from score_nb.tasks import wording_of
    found = []
    for name in dict.fromkeys(row["problem"] for row in read_jsonl(file)):
        numbers = re.fullmatch(r"(\d+)x\+(\d+)=(\d+)", name)
        a, b, c = map(int, numbers.groups())
        x = (c - b)//a
        found.append([a, x, b, wording_of(a, x, b)])
    return found

def score_nb(*words):
    "A command of this project."
    subprocess.run([sys.executable, "-m", "score_nb", *words], check=True, cwd=root)

def demo(run):
    "Make a run folder, where there is none."
    if (run/"stage2"/"evals.jsonl").is_file(): return
    print(f"no finished run in {run}: score_nb demo makes one, which takes minutes", flush=True)
    score_nb("demo", "--run", str(run))

def export(run, base_only):
    "Write the models of a run as ONNX, unless those that are there have the same weights."
    weights = [root/"data"/BASE/"model.safetensors"]
    if not base_only:
        weights += [run/stage/"adapter/adapter_model.safetensors" for stage in TRAINED]
    content = b"".join(file.read_bytes() for file in weights)
    key, known = hashlib.sha256(content).hexdigest(), live/"models.txt"
    if known.is_file() and known.read_text() == key: return
    known.unlink(missing_ok=True)
    what = [str(run), "--model", BASE, "--out", str(live)]
    if base_only:
        what = [BASE, "--out", str(live/"base")]
    score_nb("export", "--format", "onnx", *what)
    known.write_text(key)

def models(run, base_only):
    "The models of a run as ONNX, and what the page must know of it."
    from score_nb.tasks import WORDINGS
    export(run, base_only)
    config = json.loads((run/"config.json").read_text(encoding="utf-8"))
    settings = config["settings"]
    chat = json.loads((live/"base"/"chat.json").read_text(encoding="utf-8"))
    shutil.copy(live/"base"/"tokenizer.json", live)
    stages = []
    for stage, title in STAGES.items():
        folder = "base" if base_only else stage
        stored = counts(run/stage/"evals.jsonl")
        stages.append(dict(title=title, folder=folder, stored=stored))
    facts = dict(
        models=stages, wordings=WORDINGS, problems=problems(run/"base"/"evals.jsonl"), chat=chat,
        steps=settings["steps"], seed=settings["seed"])
    (live/"models.json").write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")

def arguments():
    "What was typed."
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--run", type=Path, default=root/"runs/demo", help="run folder of score_nb")
    parser.add_argument("--out", type=Path, default=root/"_docs", help="folder to write")
    parser.add_argument("--base-only", action="store_true", help="in all columns: to try the page")
    parser.add_argument("--without-models", action="store_true", help="the live page then has none")
    return parser.parse_args()

def main():
    given = arguments()
    if given.without_models:
        shutil.rmtree(live, ignore_errors=True)
    else:
        live.mkdir(parents=True, exist_ok=True)
        run = given.run.resolve()
        demo(run)
        runtime()
        models(run, given.base_only)
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    where = ["--config-file", docs/"mkdocs.yml", "--site-dir", given.out.resolve()]
    mkdocs = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", *where]
    done = subprocess.run(mkdocs, env=quiet)
    if done.returncode: raise SystemExit(done.returncode)
    checked = subprocess.run([sys.executable, docs/"check.py", given.out, "--links-only"])
    raise SystemExit(checked.returncode)

if __name__ == "__main__":
    main()
