"""llm-server with a fake engine, for the tests: the command itself, all but its `load`.

Run as a program, with the command's options. FAKE_LOAD is how many seconds loading takes, FAKE_STEP
how many a token; FAKE_ERROR is what is wrong with the file, FAKE_BUG a bug in loading it.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import fake_model
from fake_engine import FakeEngine
from orin_core.cli import UserError
from orin_llm.server import command
from orin_llm.server import model as served_model


def load(path: Path, device: str, **limits: Any) -> served_model.Model:
    time.sleep(float(os.environ.get("FAKE_LOAD", "0")))
    if wrong := os.environ.get("FAKE_ERROR"):
        raise UserError(f"{path}: {wrong}")
    if bug := os.environ.get("FAKE_BUG"):
        raise RuntimeError(bug)
    del limits["cache_tokens"]
    return fake_model.model(FakeEngine(step=float(os.environ.get("FAKE_STEP", "0")), **limits))


if __name__ == "__main__":
    served_model.load = load
    sys.argv[0] = "llm-server"
    command.main()
