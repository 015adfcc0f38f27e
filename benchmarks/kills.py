"""Runs and studies are killed, or their disk is full, and then they go on: are the files the same
in the end? See nbs/61_recipe.ipynb.

  python benchmarks/kills.py run 60      SIGKILL in `score_nb run`, in turns at a random moment and
                                         at a rename
  python benchmarks/kills.py three 14    the same with three attempts, so that it also strikes the
                                         merge between the parts of Stage I
  python benchmarks/kills.py study 30    the same in a study's rows stage1 and score, with few
                                         conversations per step
  python benchmarks/kills.py disk 20     `score_nb run` on a disk that is full at 20 sizes (Linux,
                                         as root: it mounts one)

Each writes runs/kills/NAME.jsonl with a row per kill; `score_nb store runs/kills --out
data/runs/kills` keeps them as evidence. A random moment may come after the end of the run: then it
is drawn again, and counted as `missed`. Processes are forked from this one, so that starting one
takes no time.
"""
import os, random, shutil, signal, subprocess, sys, tempfile, time
from functools import partial
from pathlib import Path
import score_nb.cli, score_nb.recipe
from score_nb.core import TrainConfig, to_jsonl, versions, write_atomic
from score_nb.evals import table
from score_nb.study import run_row

TINY = ("--steps 4 --problems 2 --samples 2 --window 1 --max-new-tokens 24 --save-every 2 --n 6 "
        "--no-look")

def command_line(text):
    "`score_nb TEXT FOLDER`."
    def command(folder):
        return score_nb.cli.main([*text.split(), str(folder)])
    return command

def small_study(folder):
    "What `score_nb study score` does, with a small budget."
    budget = TrainConfig(steps=8, problems=2, samples=2, window=1, max_new_tokens=24, save_every=2)
    sizes = dict(stage1=1e-3, score=1e-3)
    print(table({"SCoRe": run_row("score", 0, folder, budget=budget, n=6, sizes=sizes)}))
    return 0

COMMANDS = {"run": command_line(f"run {TINY} --run"),
            "three": command_line(f"run {TINY} --attempts 3 --run"), "study": small_study}
# files that must not depend on a kill
SAME = ("metrics.jsonl", "evals.jsonl", "kl.jsonl", "train.jsonl", "adapter_model.safetensors",
        "adapter_config.json", "score.png", "episodes.html")

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def die_at_rename(number, after):
    "From now on this process kills itself at its rename of that number, just before or just after."
    replace, left = os.replace, [number]
    def dying(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0 and not after:
            die()
        replace(*args, **kwargs)
        if left[0] == 0:
            die()
    os.replace = dying

def count_renames(log):
    "From now on each rename of this process adds a line to a file."
    replace = os.replace
    def counting(source, target, **kwargs):
        replace(source, target, **kwargs)
        with open(log, "a") as file:
            file.write(f"{target}\n")
    os.replace = counting

def start(command, folder, printed, prepare=None):
    "The process id of a command on a folder. What it prints goes to the file `printed`."
    pid = os.fork()
    if pid: return pid
    out = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    try:
        if prepare:
            prepare()
        code = command(folder)
        sys.stdout.flush()
    except BaseException as e:
        os.write(2, repr(e).encode())
        code = 99
    os._exit(code)

def wait(pid, seconds=None):
    "The exit code of a process, -9 if it was killed. After so many seconds it is killed."
    end = time.monotonic() + (seconds or 1e9)
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done: return os.waitstatus_to_exitcode(status)
        time.sleep(.002)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def files(folder):
    "{name: bytes} of all files that must not depend on a kill."
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.name in SAME:
            found[str(file.relative_to(folder))] = file.read_bytes()
    return found

def printed_table(printed):
    "The table in what a command printed."
    text = Path(printed).read_text()
    return text[text.index("policy  "):text.index("percent of n problems")]

def state_of(folder):
    "What there is after a kill: evaluations, steps, and files that were being written."
    logs = folder.rglob("metrics.jsonl")
    steps = sum(log.read_text().count("\n") for log in logs)
    evaluated = list(folder.rglob("evals.jsonl"))
    temporary = [file.name for file in folder.rglob(".*") if ".tmp" in file.name]
    half = [name.partition(".tmp")[0] for name in temporary]
    return dict(evaluated=len(evaluated), steps=steps, half_written=half)

def reference(command, here):
    "An undisturbed run: its files, its table, its seconds, and how many renames it makes."
    whole, printed, log = here/"whole", here/"printed", here/"renames"
    began = time.monotonic()
    process = start(command, whole, printed, partial(count_renames, log))
    code = wait(process)
    seconds = time.monotonic() - began
    assert code == 0, printed.read_text()[-2000:]
    renames = log.read_text().count("\n")
    return files(whole), printed_table(printed), seconds, renames

def go_on(command, folder, here, expected):
    "Start a command again where it was stopped: its exit code, and whether all is as expected."
    whole, table_text = expected
    again = wait(start(command, folder, here/"printed"))
    same = (again == 0 and files(folder) == whole
            and printed_table(here/"printed") == table_text)
    return dict(again=again, same=same)

def names(folder):
    "Every file and folder below a folder."
    return {str(file.relative_to(folder)) for file in folder.rglob("*")}

def moment_of(kill, generator, seconds, renames):
    "When a kill strikes: as text, what the process does to itself before it starts, and its limit."
    moment = generator.uniform(0, seconds)
    number = generator.randint(1, renames)
    after = generator.random() < .5
    if kill % 2 == 0: return f"{moment:.2f} of {seconds:.2f} s", None, moment
    side = "after" if after else "before"
    at = f"{side} rename {number} of {renames}"
    return at, partial(die_at_rename, number, after), None

def killed(name, n, here):
    "A row for each of n kills, and how many moments came too late."
    command = COMMANDS[name]
    whole, table_text, seconds, renames = reference(command, here)
    print(f"{name}: {len(whole)} files to compare, {seconds:.1f} s, {renames} renames", flush=True)
    rows, drawn = [], 0
    while len(rows) < n:
        generator = random.Random(f"{name} {drawn}")
        folder = here/f"cut{drawn}"
        drawn += 1
        at, prepare, limit = moment_of(len(rows), generator, seconds, renames)
        began = time.monotonic()
        code = wait(start(command, folder, here/"printed", prepare), limit)
        if code != -signal.SIGKILL: # it came to its end, which says how long a run takes
            seconds = time.monotonic() - began
            continue
        row = dict(command=name, kill=len(rows), at=at, exit=code, **state_of(folder))
        row |= go_on(command, folder, here, (whole, table_text))
        left = names(folder) - names(here/"whole")
        row |= dict(leftovers=sorted(left))
        print(row, flush=True)
        rows.append(row)
        shutil.rmtree(folder)
    return rows, drawn - n

def on_full_disk(command, disk, kilobytes, here, expected):
    "A row: the command on a disk of that size, and once more after the disk has become larger."
    options = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", disk]
    subprocess.run(options, check=True)
    try:
        code = wait(start(command, disk/"run", here/"printed"))
        lines = (here/"printed").read_text().strip().splitlines()
        last = lines[-1].replace(str(disk), "…")
        row = dict(command="run", kilobytes=kilobytes, exit=code, said=last, **state_of(disk))
        subprocess.run(["mount", "-o", "remount,size=1g", disk], check=True)
        return row | go_on(command, disk/"run", here, expected)
    finally:
        subprocess.run(["umount", disk], check=True)

def full(n, here):
    "A row for each of n disks that are too small at first."
    command, disk = COMMANDS["run"], here/"disk"
    whole, table_text, _, _ = reference(command, here)
    written = [file for file in (here/"whole").rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in written)
    rows = []
    for i in range(n):
        disk.mkdir(exist_ok=True)
        kilobytes = int(size/1000*(i + .5)/n)
        rows.append(on_full_disk(command, disk, kilobytes, here, (whole, table_text)))
        print(rows[-1], flush=True)
    return rows

if __name__ == "__main__":
    name, n = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        rows, missed = (full(n, here), 0) if name == "disk" else killed(name, n, here)
    same = sum(row["same"] and not row.get("leftovers") for row in rows)
    first = dict(n=n, same=same, missed=missed, date=time.strftime("%Y-%m-%d"), **versions())
    write_atomic(f"runs/kills/{name}.jsonl", to_jsonl([first, *rows]))
    print(first)
