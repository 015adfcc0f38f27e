"""The commands that start several processes, as page 66 gives them, do what one process does.

  python .ci/launchers.py    trains two steps in one process, with torchrun in two, and with
                             `accelerate launch --use_fsdp` in two that hold one base together
"""
import os, subprocess, sys, tempfile
from pathlib import Path

SETTINGS = """train --objective stage_one --steps 2 --problems 4 --samples 2 --n 16
--max-new-tokens 40""".split()
PYTHON = [sys.executable, "-m"]
STARTS = { # name of the run folder -> what starts the command line
    "single": [],
    "torchrun": [*PYTHON, "torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
    "pieces": [*PYTHON, "accelerate.commands.launch", "--use_fsdp", "--num_processes", "2",
               "--main_process_port", "0"]}
SUMMED = {"kl1", "kl2", "loss", "grad_norm"} # may differ in their last digits

def train(name, folder):
    "Start the training in a subfolder of that name, and return the rows of its log."
    from score_nb.core import read_jsonl
    start = [*STARTS[name], "-m", "score_nb", "--"] if STARTS[name] else [*PYTHON, "score_nb"]
    environment = os.environ | dict(OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
    run = Path(folder)/name
    done = subprocess.run([*start, *SETTINGS, "--run", str(run)], capture_output=True, text=True,
                          env=environment)
    assert done.returncode == 0, f"{name}: {done.stderr[-3000:]}"
    rows = read_jsonl(run/"metrics.jsonl")
    print(f"{name:9} {len(rows)} steps:", done.stdout.strip().splitlines()[0])
    return rows

def counted(rows):
    "The rows without what is summed."
    return [{key: value for key, value in row.items() if key not in SUMMED} for row in rows]

def main():
    with tempfile.TemporaryDirectory() as folder:
        single, *others = (train(name, folder) for name in STARTS)
        for name, rows in zip(list(STARTS)[1:], others):
            assert counted(rows) == counted(single), f"{name} sampled something else"
            for row, alone in zip(rows, single):
                gap = max(abs(row[key] - alone[key]) for key in SUMMED)
                assert gap < 1e-4, f"{name}, step {row['step']}: {gap:.0e} off"
    print("two processes do what one does")

if __name__ == "__main__":
    main()
