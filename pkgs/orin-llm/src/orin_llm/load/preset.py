"""What bench-llm, bench-vllm and bench-mlc-llm differ in."""

from dataclasses import dataclass

from orin_llm.load.server import Server

REMEDY = "start it, or give its address as --server NAME=URL"


@dataclass(frozen=True)
class Candidate:
    """A server that is looked for where it usually listens. An optional one that does not answer
    is left out; `remedy` says how to start one."""

    server: Server
    remedy: str
    optional: bool = False


@dataclass(frozen=True)
class Preset:
    command: str
    summary: str
    example: str
    candidates: tuple[Candidate, ...] = ()

    def chosen(self, given: list[Server]) -> list[Candidate]:
        """The preset's servers and those `given`, which replace one of the same name."""
        servers = {each.server.name: each for each in self.candidates}
        servers |= {each.name: Candidate(each, REMEDY) for each in given}
        return list(servers.values())
