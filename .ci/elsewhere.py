"""Pages run from an empty folder, by the Python that runs this, which has the wheel with `nb`.

  python .ci/elsewhere.py 01_tasks 36_sandboxed    each page in a folder of its own
  python .ci/elsewhere.py --colab 01_tasks       the same as if in Colab: its first cell clones
                                                 this repository and installs from that clone
"""
import os, subprocess, sys, tempfile
from configparser import ConfigParser
from pathlib import Path
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent

def settings():
    "What settings.ini says."
    config = ConfigParser(delimiters=["="], interpolation=None)
    config.read(ROOT/"settings.ini", encoding="utf-8")
    return config["DEFAULT"]

def as_in_colab(folder):
    "Let Python find a module google.colab, and git this repository at its address on the web."
    (folder/"google/colab").mkdir(parents=True)
    (folder/"google/colab/__init__.py").touch()
    (folder/"sitecustomize.py").write_text("import google.colab\n")
    os.environ["PYTHONPATH"] = str(folder)
    config = settings()
    hub = folder/"hub.git"
    for command in (["clone", "--quiet", "--bare", str(ROOT), str(hub)],
                    ["-C", str(hub), "branch", "--force", config["branch"], "HEAD"]):
        subprocess.run(["git", *command], check=True)
    number = int(os.environ.get("GIT_CONFIG_COUNT", 0))
    os.environ[f"GIT_CONFIG_KEY_{number}"] = f"url.file://{hub}.insteadOf"
    os.environ[f"GIT_CONFIG_VALUE_{number}"] = config["git_url"]
    os.environ["GIT_CONFIG_COUNT"] = str(number + 1)

def run(page, folder):
    "Run all cells of a page in an empty folder. Raises what a cell raised."
    notebook = nbformat.read(ROOT/f"nbs/{page}.ipynb", as_version=4)
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()

def main():
    "Run the pages that were named."
    pages = [name for name in sys.argv[1:] if name != "--colab"]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        if "--colab" in sys.argv:
            as_in_colab(scratch/"colab")
        for page in pages:
            (scratch/page).mkdir()
            run(page, scratch/page)
            cloned = (scratch/page/"score_nb/nbs/index.ipynb").is_file()
            assert cloned == ("--colab" in sys.argv), "the first cell cloned, or did not"
            print(f"{page}: ran, {'in a clone' if cloned else 'in an empty folder'}", flush=True)

if __name__ == "__main__":
    main()
