"""The command `score_nb`, also as `python -m score_nb`. Kept by hand: what nbdev exports has no such name."""
import os, signal, sys

def stop(signum, frame):
    "A signal before `main` is there to answer it: one line, and the exit code that shells know."
    os.write(2, b"score_nb: stopped before anything was done; the same command starts it\n")
    os._exit(128 + signum)

def start()->int: # exit code, as of `main`
    "Run the command; a signal is answered from the first moment on."
    for signum in (signal.SIGINT, signal.SIGTERM): signal.signal(signum, stop)
    from score_nb.cli import main
    code = main()
    for signum in (signal.SIGINT, signal.SIGTERM): signal.signal(signum, signal.SIG_DFL)
    return code

if __name__ == "__main__": sys.exit(start())
