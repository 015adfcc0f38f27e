"""The whole site, with one command:    pip install -e '.[docs,onnx]' && python docs/build.py
It takes the notebooks as they are stored, and the models of the live page from a run folder (--run; where there is none,
it makes one with `score_nb demo`, which takes minutes). It needs npm, from which it takes onnxruntime-web, and writes to _docs."""
import argparse, base64, gzip, hashlib, json, os, re, shutil, subprocess, sys, tarfile, tempfile
from pathlib import Path

docs = Path(__file__).resolve().parent
root, live = docs.parent, docs/"build"/"live"
RUNTIME = "onnxruntime-web", "1.30.0", "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
FILES = "ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"
STAGES = {"base": "Base", "stage1": "Stage I", "stage2": "SCoRe"}

def runtime():
    "onnxruntime-web, as npm has it; what it is, is checked."
    name, version, digest = RUNTIME
    if (live/"runtime.txt").is_file() and (live/"runtime.txt").read_text() == digest: return
    npm = shutil.which("npm")
    if npm is None: raise SystemExit(f"npm is not installed, and {name} for the live page comes from it; install Node.js, or give --without-models")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([npm, "pack", "--silent", f"{name}@{version}"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        archive, = Path(folder).glob("*.tgz")
        found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != digest: raise SystemExit(f"{name} {version} is not what it was: sha512 {found}")
        with tarfile.open(archive) as packed:
            for file in FILES:
                content = packed.extractfile(f"package/dist/{file}").read()
                if file.endswith(".wasm"): file, content = file + ".gz", gzip.compress(content, 9, mtime=0)
                (live/file).write_bytes(content)
    (live/"runtime.txt").write_text(digest)

def counts(file):
    "What an evaluation counted."
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    right = {(row["problem"], row["attempt"]): bool(row["reward"]) for row in rows}
    pairs = [(right[problem, 1], right[problem, 2]) for problem, attempt in right if attempt == 1]
    return dict(n=len(pairs), first=sum(a for a, _ in pairs), second=sum(b for _, b in pairs),
                mended=sum(b > a for a, b in pairs), spoilt=sum(a > b for a, b in pairs))

def problems(file):
    "The evaluated problems as numbers a, x, b and the wording."
    from score_nb.tasks import wording_of
    ids = dict.fromkeys(json.loads(line)["problem"] for line in file.read_text(encoding="utf-8").splitlines())
    numbers = [tuple(map(int, re.fullmatch(r"(\d+)x\+(\d+)=(\d+)", name).groups())) for name in ids]
    return [[a, (c - b)//a, b, wording_of(a, (c - b)//a, b)] for a, b, c in numbers]

def demo(run):
    "Make a run folder, where there is none."
    if (run/"stage2"/"evals.jsonl").is_file(): return
    print(f"no finished run in {run}: score_nb demo makes one, which takes minutes", flush=True)
    subprocess.run([sys.executable, "-m", "score_nb", "demo", "--run", str(run)], check=True, cwd=root)

def models(run):
    "The models of a run as ONNX, and what the page must know of it."
    from score_nb.tasks import WORDINGS
    adapters = [(run/stage/"adapter"/"adapter_model.safetensors").read_bytes() for stage in list(STAGES)[1:]]
    key = hashlib.sha256(b"".join([(root/"data/tiny/model.safetensors").read_bytes(), *adapters])).hexdigest()
    known = live/"models.txt"
    if not (known.is_file() and known.read_text() == key):
        known.unlink(missing_ok=True)
        subprocess.run([sys.executable, "-m", "score_nb", "export", "--format", "onnx", str(run), "--out", str(live)], check=True, cwd=root)
        known.write_text(key)
    settings = json.loads((run/"config.json").read_text(encoding="utf-8"))["settings"]
    chat = json.loads((live/"base"/"chat.json").read_text(encoding="utf-8"))
    shutil.copy(live/"base"/"tokenizer.json", live)
    facts = dict(
        models=[dict(title=title, folder=stage, stored=counts(run/stage/"evals.jsonl")) for stage, title in STAGES.items()],
        wordings=WORDINGS, problems=problems(run/"base"/"evals.jsonl"), chat=chat,
        steps=settings["steps"], seed=settings["seed"])
    (live/"models.json").write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=root/"runs"/"demo", help="run folder of score_nb demo or run")
    parser.add_argument("--out", type=Path, default=root/"_docs", help="folder to write")
    parser.add_argument("--without-models", action="store_true", help="the pages alone; the live page says that it has no models")
    given = parser.parse_args()
    shutil.rmtree(live, ignore_errors=True) if given.without_models else live.mkdir(parents=True, exist_ok=True)
    if not given.without_models:
        run = given.run.resolve()
        demo(run)
        runtime()
        models(run)
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--config-file", docs/"mkdocs.yml", "--site-dir", given.out.resolve()], env=quiet)
    if done.returncode: raise SystemExit(done.returncode)
    checked = subprocess.run([sys.executable, docs/"check.py", given.out, "--links-only"])
    raise SystemExit(checked.returncode)

if __name__ == "__main__": main()
