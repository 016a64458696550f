"""A server of OpenAI's API that answers at a known pace and misbehaves on demand, for the tests.

Run as a program it listens on a free port, prints it, and serves what its JSON argument asks for;
`start` runs it so. GET /log tells what it was asked and when it sent what, on the clock of
time.perf_counter(), which all processes of a machine share.
"""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Behaviour:
    """`first` and `gap` are in seconds; the other times too."""

    first: float = 0.02  # from the request to the first token
    gap: float = 0.005  # between chunks
    bundles: tuple[int, ...] = (1,)  # tokens of successive chunks, over and over
    tokens: int | None = None  # of an answer; None: max_tokens
    role_at_once: bool = False  # the role alone is sent before `first`
    usage: bool = True
    miscount: int = 0  # added to the usage's completion tokens
    key: str | None = None
    models: tuple[str, ...] = ("fake",)
    loading: float = 0.0  # /health says 503 for so long
    health: bool = True  # otherwise /health is unknown
    word_tokens: int = 1
    template_tokens: int = 9
    longest_prompt: int = 1_000_000  # longer ones get a 400, as OpenAI's API answers
    fail: tuple[int, int] = (0, 0)  # every so many-th answer is this status
    break_every: int = 0  # every so many-th answer ends after two chunks
    break_how: str = "cut"  # cut: the connection ends; quiet: the body ends; error: a chunk says so
    stall: tuple[int, float] = (0, 0.0)  # this answer takes so much longer
    slots: int = 1000  # answers computed at once
    die_at: int = 0  # with this answer the process ends
    split: bool = False  # every chunk goes out in two packets
    skip: int = 0  # so many answers are not counted by `fail`, `break_every`, `stall`, `die_at`


class FakeServer:
    def __init__(self, behaviour: Behaviour) -> None:
        self.be = behaviour
        self.started = time.perf_counter()
        self.log: list[dict[str, Any]] = []
        self.slots = asyncio.Semaphore(behaviour.slots)
        self.numbers = itertools.count(1 - behaviour.skip)

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self.request(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        now = time.perf_counter()
        path = head[0].split()[1]
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if path == "/log":
            return self.reply(writer, 200, self.log)
        if path == "/health" and self.be.health:
            loading = now - self.started < self.be.loading
            return self.reply(writer, 503 if loading else 200, {})
        if self.be.key and headers.get("authorization") != f"bearer {self.be.key}":
            return self.error(writer, 401, "Incorrect API key provided")
        if path == "/v1/models":
            return self.reply(writer, 200, {"data": [{"id": name} for name in self.be.models]})
        if path in ("/v1/chat/completions", "/v1/completions"):
            return await self.complete(writer, json.loads(body), now, "chat" in path)
        return self.error(writer, 404, "Not Found")

    async def complete(
        self, writer: asyncio.StreamWriter, body: dict[str, Any], now: float, chat: bool
    ) -> bool:
        text = body["messages"][-1]["content"] if chat else body["prompt"]
        prompt = self.be.template_tokens + self.be.word_tokens * len(text.split())
        entry: dict[str, Any] = {"body": body, "received": now, "sent": [], "prompt": prompt}
        self.log.append(entry)
        if prompt > self.be.longest_prompt:
            return self.error(writer, 400, f"the prompt of {prompt} tokens is too long")
        number = next(self.numbers)
        if 0 < number == self.be.die_at:
            os._exit(1)
        every, status = self.be.fail
        if every and number > 0 and number % every == 0:
            return self.error(writer, status, "no room for more")
        tokens = self.be.tokens or body["max_tokens"]
        sizes = list(bundle(tokens, self.be.bundles))
        usage = {"prompt_tokens": prompt, "completion_tokens": tokens + self.be.miscount}
        breaks = number > 0 and self.be.break_every and number % self.be.break_every == 0
        async with self.slots:
            if 0 < number == self.be.stall[0]:
                await asyncio.sleep(self.be.stall[1])
            if not body["stream"]:
                await asyncio.sleep(self.be.first + self.be.gap * (len(sizes) - 1))
                choice = {"text": "w " * tokens, "finish_reason": "length"}
                counted: dict[str, Any] = {"usage": usage} if self.be.usage else {}
                return self.reply(writer, 200, {"choices": [choice], **counted})
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            if chat and self.be.role_at_once:
                await self.event(writer, choices=[{"delta": {"role": "assistant", "content": ""}}])
            due = time.perf_counter() + self.be.first
            for index, size in enumerate(sizes):
                await asyncio.sleep(due - time.perf_counter())
                due += self.be.gap
                if breaks and index == 2:
                    return await self.break_off(writer)
                word = " w" * size
                part = {"delta": {"content": word}} if chat else {"text": word}
                entry["sent"].append(time.perf_counter())
                await self.event(writer, choices=[{**part, "finish_reason": None}])
            last: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
            await self.event(writer, choices=[{**last, "finish_reason": "length"}])
        if self.be.usage and body.get("stream_options", {}).get("include_usage"):
            await self.event(writer, choices=[], usage=usage)
        self.chunk(writer, b": done\n\ndata: [DONE]\n\n")
        self.chunk(writer, b"")
        return True

    async def break_off(self, writer: asyncio.StreamWriter) -> bool:
        if self.be.break_how == "error":
            await self.event(writer, error={"message": "the engine failed", "code": 500})
        if self.be.break_how == "nonsense":
            self.chunk(writer, b"data: {broken\n\n")
        if self.be.break_how != "cut":
            self.chunk(writer, b"")
        return False

    async def event(self, writer: asyncio.StreamWriter, **document: Any) -> None:
        data = f"data: {json.dumps({'object': 'chunk', **document})}\n\n".encode()
        if self.be.split:
            self.chunk(writer, data[:17])
            await writer.drain()
            await asyncio.sleep(0.001)
            self.chunk(writer, data[17:])
        else:
            self.chunk(writer, data)

    def chunk(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))

    def error(self, writer: asyncio.StreamWriter, status: int, message: str) -> bool:
        return self.reply(writer, status, {"error": {"message": message}})

    def reply(self, writer: asyncio.StreamWriter, status: int, document: Any) -> bool:
        data = json.dumps(document).encode()
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%s" % (status, len(data), data))
        return True


def bundle(tokens: int, bundles: tuple[int, ...]) -> Iterator[int]:
    """`tokens` in parts as large as `bundles` say, over and over."""
    for size in itertools.cycle(bundles):
        if tokens <= 0:
            return
        yield min(size, tokens)
        tokens -= size


@dataclass
class Running:
    url: str
    process: subprocess.Popen[str]
    requests: list[dict[str, Any]] = field(default_factory=list)

    def log(self) -> list[dict[str, Any]]:
        from urllib.request import urlopen  # slow, and the server needs it not

        with urlopen(f"{self.url}/log", timeout=10) as response:
            entries: list[dict[str, Any]] = json.load(response)
            return entries


@contextmanager
def start(behaviour: Behaviour | None = None) -> Iterator[Running]:
    """The server in a process of its own, so that it does not slow the client down."""
    argument = json.dumps(asdict(behaviour or Behaviour()))
    process = subprocess.Popen(
        [sys.executable, "-IS", __file__, argument], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        yield Running(f"http://127.0.0.1:{int(process.stdout.readline())}", process)
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


async def main() -> None:
    options = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    pairs: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
    }
    fake = FakeServer(Behaviour(**pairs))
    port = int(os.environ.get("FAKE_PORT", "0"))
    server = await asyncio.start_server(fake.connection, "127.0.0.1", port, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
