"Everything is in settings.ini; the standard library reads it."
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

here = Path(__file__).parent
cfg = ConfigParser(delimiters=["="])
cfg.read(here/"settings.ini", encoding="utf-8")
s = cfg["DEFAULT"]
EXTRAS = "nb", "dev", "onnx", "docs", "bench" # each reads NAME_requirements

setup(
    name=s["lib_name"], version=s["version"], description=s["description"],
    keywords=s["keywords"], license="Apache-2.0", author=s["author"],
    author_email=s["author_email"], url=s["git_url"], python_requires=">=" + s["min_python"],
    long_description=(here/"README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    # the folder data/ lies beside the package in a checkout and inside it in a wheel; core.data_path looks in both
    packages=[*find_packages(include=["score_nb", "score_nb.*"]), "score_nb.data"],
    package_dir={"score_nb.data": "data"},
    package_data={"score_nb.data": ["README.md", "tiny/*", "tiny-weak/*", "runs/**/config.json", "runs/**/logs.zip"]},
    install_requires=s["requirements"].split(),
    extras_require={extra: s[f"{extra}_requirements"].split() for extra in EXTRAS},
    entry_points={"console_scripts": s["console_scripts"].split(), "nbdev": ["score_nb=score_nb._modidx:d"]},
)
