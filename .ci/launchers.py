"""The commands that start several processes, as page 66 gives them, do what one process does.

  python .ci/launchers.py    trains two steps in one process, with torchrun in two, and with
                             `accelerate launch --use_fsdp` in two that hold one base together
"""
import os, subprocess, sys, tempfile
from pathlib import Path

SETTINGS = """train --objective stage_one --steps 2 --problems 4 --samples 2 --n 16
--max-new-tokens 40""".split()
PYTHON = [sys.executable, "-m"]
OURS = "-m", "score_nb", "--"
STARTS = { # name of the run folder -> what starts the command line
    "single": [*PYTHON, "score_nb"],
    "torchrun": [*PYTHON, "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *OURS],
    "pieces": [*PYTHON, "accelerate.commands.launch", "--use_fsdp", "--num_processes", "2",
               "--main_process_port", "0", *OURS]}
ENVIRONMENT = os.environ | dict(OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
SUMMED = {"kl1", "kl2", "loss", "grad_norm"} # may differ in their last digits

def train(name, folder):
    "Start the training in a subfolder of that name, and return the rows of its log."
    from score_nb.core import read_jsonl
    run = Path(folder)/name
    command = [*STARTS[name], *SETTINGS, "--run", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    if done.returncode != 0:
        sys.exit(f"{name}: {done.stderr[-3000:]}")
    log = run/"metrics.jsonl"
    rows = read_jsonl(log)
    first_line = done.stdout.strip().partition("\n")[0]
    print(name.ljust(9), len(rows), "steps:", first_line)
    return rows

def compare(name, rows, single):
    "Fail unless the steps of a run are those of the run in one process."
    for row, alone in zip(rows, single, strict=True):
        where = f"{name}, step {row['step']}"
        assert row.keys() == alone.keys(), where
        for key, value in row.items():
            allowed = 1e-4 if key in SUMMED else 0
            gap = abs(value - alone[key])
            assert gap <= allowed, f"{where}: {key} is {gap:.0e} off"

def main():
    with tempfile.TemporaryDirectory() as folder:
        single = train("single", folder)
        for name in ("torchrun", "pieces"):
            compare(name, train(name, folder), single)
    print("two processes do what one does")

if __name__ == "__main__":
    main()
