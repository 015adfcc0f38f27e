"""Runs and studies that are killed, or whose disk is full, and go on: are the files the same in the end?
See nbs/11a_recipe.ipynb.

  python benchmarks/kills.py run 60      SIGKILL in `score_nb run`: at random moments and, every other time, at a rename
  python benchmarks/kills.py three 14    the same with three attempts: the merge between the parts of Stage I, too
  python benchmarks/kills.py study 30    the same of a study's rows stage1 and score, with few conversations a step
  python benchmarks/kills.py disk 20     `score_nb run` on a disk that is full at 20 sizes (Linux, as root: it mounts one)

Each writes runs/kills/NAME.jsonl, a row a kill; `score_nb store runs/kills --out data/runs/kills` keeps them as evidence.
A moment that comes after the end is no kill: it is drawn again, and counted as `missed`.
Processes are forked from this one, so that a start costs nothing.
"""
import os, random, shutil, signal, subprocess, sys, tempfile, time
from pathlib import Path
import score_nb.cli, score_nb.recipe
from score_nb.core import TrainConfig, to_jsonl, versions, write_atomic
from score_nb.evals import table
from score_nb.study import run_row

TINY = "--steps 4 --problems 2 --samples 2 --window 1 --max-new-tokens 24 --save-every 2 --n 6 --no-look"
def command_line(text):
    "`score_nb TEXT FOLDER`."
    return lambda folder: score_nb.cli.main([*text.split(), str(folder)])

def small_study(folder):
    "What `score_nb study score` does, with a small budget."
    budget = TrainConfig(steps=8, problems=2, samples=2, window=1, max_new_tokens=24, save_every=2)
    print(table({"SCoRe": run_row("score", 0, folder, budget=budget, n=6)}))
    return 0

COMMANDS = {"run": command_line(f"run {TINY} --run"), "three": command_line(f"run {TINY} --attempts 3 --run"), "study": small_study}
SAME = "metrics.jsonl", "evals.jsonl", "kl.jsonl", "train.jsonl", "adapter_model.safetensors", "adapter_config.json", "score.png", "episodes.html"

def die_at_rename(number, after):
    "From now on this process kills itself at its rename of that number, just before it or just after."
    replace, left = os.replace, [number]
    def dying(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0 and not after: os.kill(os.getpid(), signal.SIGKILL)
        replace(*args, **kwargs)
        if left[0] == 0: os.kill(os.getpid(), signal.SIGKILL)
    os.replace = dying

def count_renames(log):
    "From now on each rename of this process adds a line to a file."
    replace = os.replace
    def counting(source, target, **kwargs):
        replace(source, target, **kwargs)
        with open(log, "a") as f: f.write(f"{target}\n")
    os.replace = counting

def start(command, folder, said, prepare=None):
    "The process id of a command on a folder; what it says goes to a file."
    pid = os.fork()
    if pid: return pid
    out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    try:
        if prepare: prepare()
        code = command(folder)
        sys.stdout.flush()
    except BaseException as e:
        os.write(2, repr(e).encode())
        code = 99
    os._exit(code)

def wait(pid, seconds=None):
    "Its exit code, -9 if it was killed; after so many seconds it is."
    end = time.monotonic() + (seconds or 1e9)
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done: return os.waitstatus_to_exitcode(status)
        time.sleep(.002)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def files(folder):
    "{name: bytes} of all files that must not depend on a kill."
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.name in SAME and ".tmp" not in f.name}

def printed_table(said):
    "The table in what a command printed."
    text = Path(said).read_text()
    return text[text.index("policy  "):text.index("percent of n problems")]

def phase(folder):
    "What there was when it was killed: evaluations, steps, and files that were being written."
    steps = sum(f.read_text().count("\n") for f in folder.rglob("metrics.jsonl"))
    half = [f.name.partition(".tmp")[0] for f in folder.rglob(".*") if ".tmp" in f.name]
    return dict(evaluated=len(list(folder.rglob("evals.jsonl"))), steps=steps, half_written=half)

def reference(command, here):
    "A run that nobody disturbs: its files, its table, its seconds, how many renames it makes."
    began = time.monotonic()
    code = wait(start(command, here/"whole", here/"said", lambda: count_renames(here/"renames")))
    assert code == 0, (here/"said").read_text()[-2000:]
    seconds = time.monotonic() - began
    return files(here/"whole"), printed_table(here/"said"), seconds, (here/"renames").read_text().count("\n")

def names(folder):
    "Every file and folder below a folder."
    return {str(f.relative_to(folder)) for f in folder.rglob("*")}

def killed(name, n, here):
    "A row for each of n kills, and how many moments came too late."
    command = COMMANDS[name]
    whole, printed, seconds, renames = reference(command, here)
    print(f"{name}: {len(whole)} files to compare, {seconds:.1f} s, {renames} renames", flush=True)
    rows, drawn = [], 0
    while len(rows) < n:
        luck, folder = random.Random(f"{name} {drawn}"), here/f"cut{drawn}"
        moment = luck.uniform(0, seconds)
        number, after = luck.randint(1, renames), luck.random() < .5
        at_rename = len(rows) % 2 == 1
        drawn += 1
        prepare = (lambda: die_at_rename(number, after)) if at_rename else None
        began = time.monotonic()
        code = wait(start(command, folder, here/"said", prepare), None if at_rename else moment)
        if code != -signal.SIGKILL: # it had come to its end; how long that took is what to draw from now on
            seconds = time.monotonic() - began
            continue
        where = f"{'after' if after else 'before'} rename {number} of {renames}"
        at = where if at_rename else f"{moment:.2f} of {seconds:.2f} s"
        row = dict(command=name, kill=len(rows), at=at, exit=code, **phase(folder))
        again = wait(start(command, folder, here/"said"))
        same = again == 0 and files(folder) == whole and printed_table(here/"said") == printed
        row |= dict(again=again, same=same, leftovers=sorted(names(folder) - names(here/"whole")))
        print(row, flush=True)
        rows.append(row)
        shutil.rmtree(folder)
    return rows, drawn - n

def full(n, here):
    "A row for each of n disks that are too small at first."
    command, disk = COMMANDS["run"], here/"disk"
    whole, printed, _, _ = reference(command, here)
    size = sum(f.stat().st_size for f in (here/"whole").rglob("*") if f.is_file())
    for i in range(n):
        disk.mkdir(exist_ok=True)
        kilobytes = int(size/1000*(i + .5)/n)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", disk], check=True)
        try:
            code = wait(start(command, disk/"run", here/"said"))
            last = (here/"said").read_text().strip().splitlines()[-1].replace(str(disk), "…")
            row = dict(command="run", kilobytes=kilobytes, exit=code, said=last, **phase(disk))
            subprocess.run(["mount", "-o", "remount,size=1g", disk], check=True)
            again = wait(start(command, disk/"run", here/"said"))
            row |= dict(again=again, same=again == 0 and files(disk/"run") == whole and printed_table(here/"said") == printed)
        finally: subprocess.run(["umount", disk], check=True)
        print(row, flush=True)
        yield row

if __name__ == "__main__":
    name, n = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as d:
        rows, missed = (list(full(n, Path(d))), 0) if name == "disk" else killed(name, n, Path(d))
    same = sum(r["same"] and not r.get("leftovers") for r in rows)
    first = dict(n=n, same=same, missed=missed, date=time.strftime("%Y-%m-%d"), **versions())
    write_atomic(f"runs/kills/{name}.jsonl", to_jsonl([first, *rows]))
    print(first)
