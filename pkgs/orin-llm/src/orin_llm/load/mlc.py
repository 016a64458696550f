"""bench-mlc-llm: MLC's server beside tinygrad's and llama.cpp's, where those answer."""

from orin_core.cli import run
from orin_llm.load.command import make_app
from orin_llm.load.preset import Candidate, Preset
from orin_llm.load.server import Server

PRESET = Preset(
    command="bench-mlc-llm",
    summary="Measure MLC's server, beside llm-server and llama.cpp's where those answer.",
    example="bench-mlc-llm --server tinygrad=http://127.0.0.1:8001 --plot mlc.svg",
    candidates=(
        Candidate(
            Server("mlc", "http://127.0.0.1:8000"),
            "start its container with run-mlc-docker, or give --server mlc=URL",
        ),
        Candidate(
            Server("tinygrad", "http://127.0.0.1:8001"), "start llm-server --port 8001", True
        ),
        Candidate(Server("llama.cpp", "http://127.0.0.1:8080"), "start llama-server", True),
    ),
)


def main() -> None:
    run(make_app(PRESET))


if __name__ == "__main__":
    main()
