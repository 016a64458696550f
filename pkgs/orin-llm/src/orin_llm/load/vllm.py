"""bench-vllm: bench-llm for the vLLM server of this machine."""

from orin_core.cli import run
from orin_llm.load.command import make_app
from orin_llm.load.preset import Candidate, Preset
from orin_llm.load.server import Server

PRESET = Preset(
    command="bench-vllm",
    summary="Measure the vLLM server that listens on port 8000 of this machine.",
    example="bench-vllm --concurrency 1,8,32 --prompt-tokens 1024 --json vllm.json",
    candidates=(
        Candidate(
            Server("vllm", "http://127.0.0.1:8000"),
            "start its container with run-vllm-docker, or give --server vllm=URL",
        ),
    ),
)


def main() -> None:
    run(make_app(PRESET))


if __name__ == "__main__":
    main()
