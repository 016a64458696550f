"""A program that answers as llama.cpp's llama-bench does, for the tests: written to a file."""

import stat
import sys
from pathlib import Path

PROGRAM = """#!{python}
import json, os, sys
arguments = sys.argv[1:]
if "--help" in arguments:
    print("usage: llama-bench [options]\\n  -n, --n-gen <n>   (default: 128)")
    raise SystemExit
value = lambda name: arguments[arguments.index(name) + 1]
file = open(value("-m"), "rb").read()
if file[:4] != b"GGUF":
    print("llama_bench: error: failed to load model '" + value("-m") + "'\\n", file=sys.stderr)
    raise SystemExit(1)
with open({log!r}, "a") as log:
    print(*arguments, len(file), os.environ.get("CUDA_VISIBLE_DEVICES"), file=log)
prompt, generate, repetitions = (int(value(name)) for name in ("-p", "-n", "-r"))
nanoseconds = [1000 * (prompt + 10 * generate) * (index + 1) for index in range(repetitions)]
test = {{
    "build_commit": "0c1e570",
    "backends": {backends!r},
    "n_prompt": prompt,
    "n_gen": generate,
    "n_depth": int(value("-d")) if "-d" in arguments else 0,
    "avg_ns": sum(nanoseconds) // repetitions,
    "samples_ns": nanoseconds,
    "samples_ts": [(prompt + generate) / each * 1e9 for each in nanoseconds],
}}
print(json.dumps([test], indent=2))
"""


def write_program(folder: Path, text: str) -> Path:
    """An executable file of Python in `folder`."""
    path = folder / "llama-bench"
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def fake_llama_bench(folder: Path, backends: str = "CPU") -> tuple[Path, Path]:
    """The program, and the file in which it notes what it was asked for."""
    log = folder / "asked"
    text = PROGRAM.format(python=sys.executable, log=str(log), backends=backends)
    return write_program(folder, text), log
