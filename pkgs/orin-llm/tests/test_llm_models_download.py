"""download-model get: resumed after any interruption, verified, and every failure one line."""

import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest

from hub_server import COMMIT, REPO, Hub, point_to, serving
from orin_core.cli import UserError
from orin_llm.models import hub as hub_module
from orin_llm.models import transfer
from orin_llm.models.catalogue import Listed
from orin_llm.models.download import check_room, download, part_path
from orin_llm.models.hub import RemoteFile, UnreachableError, find_files, part_names

NAME = "model-Q8_0.gguf"
DATA = random.Random(1).randbytes(3_000_001)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serving() as hub:
        hub.files[NAME] = DATA
        point_to(hub, monkeypatch, tmp_path)
        yield hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


def get(folder: Path, name: str = NAME) -> list[Path]:
    return download(find_files(REPO, name, "main"), folder)


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        act()
    text = str(caught.value)
    assert "\n" not in text
    return text


def command(*arguments: str | Path) -> list[str]:
    code = "import sys; from orin_llm.models.command import main; sys.argv[0] = 'download-model'"
    return [sys.executable, "-c", f"{code}; main()", *map(str, arguments)]


def finish(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        command(*arguments), capture_output=True, text=True, timeout=300, **options
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole(hub: Hub, folder: Path) -> None:
    assert get(folder) == [folder / NAME]
    assert (folder / NAME).read_bytes() == DATA
    assert names(folder) == [NAME]
    assert hub.ranges() == [f"bytes=0-{len(DATA) - 1}"]
    # Pinned to the commit that the list was of.
    assert any(request.path == f"/{REPO}/resolve/{COMMIT}/{NAME}" for request in hub.requests)


def test_a_second_call_fetches_nothing(hub: Hub, folder: Path) -> None:
    get(folder)
    get(folder)
    assert hub.sent == len(DATA)


def test_it_goes_on_after_kill_9(hub: Hub, folder: Path) -> None:
    hub.pause = 0.02
    process = subprocess.Popen(command("get", REPO, NAME, "--folder", folder))
    part = part_path(find_files(REPO, NAME, "main")[0], folder)
    limit = time.monotonic() + 120
    while not (part.exists() and part.stat().st_size > 500_000):
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    came = part.stat().st_size
    assert 500_000 < came < len(DATA)
    assert not (folder / NAME).exists()

    hub.pause = 0
    hub.requests.clear()
    done = finish("get", REPO, NAME, "--folder", folder)
    assert (done.returncode, done.stdout) == (0, f"{folder / NAME}\n")
    assert hub.ranges() == [f"bytes={came}-{len(DATA) - 1}"]
    assert (folder / NAME).read_bytes() == DATA
    assert names(folder) == [NAME]


def test_connections_that_break(hub: Hub, folder: Path) -> None:
    hub.faults = [1_000_000, 0, "503", "429", 500_000, 0]
    get(folder)
    assert (folder / NAME).read_bytes() == DATA
    starts = [int(text.removeprefix("bytes=").split("-")[0]) for text in hub.ranges()]
    assert starts == [0, *[1_000_000] * 4, *[1_500_000] * 2]
    assert hub.sent == len(DATA)


def test_a_connection_that_stays_broken(hub: Hub, folder: Path) -> None:
    hub.faults = [1_000_000, *[0] * 9]
    text = refusal(lambda: get(folder))
    assert "the connection broke again and again" in text
    assert part_path(find_files(REPO, NAME, "main")[0], folder).stat().st_size == 1_000_000
    hub.faults = []
    get(folder)
    assert (folder / NAME).read_bytes() == DATA


def test_a_server_without_ranges(hub: Hub, folder: Path) -> None:
    hub.faults = [1_000_000, "whole"]
    get(folder)
    assert (folder / NAME).read_bytes() == DATA


def test_large_files_come_in_pieces(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PIECE", 1_000_000)
    get(folder)
    assert (folder / NAME).read_bytes() == DATA
    assert len(hub.ranges()) == 4


def test_wrong_bytes_are_deleted(hub: Hub, folder: Path) -> None:
    hub.faults = ["wrong"]
    text = refusal(lambda: get(folder))
    assert text.startswith(f"{NAME}: wrong bytes came: its checksum is ")
    assert hashlib.sha256(DATA).hexdigest() in text
    assert names(folder) == []
    get(folder)
    assert (folder / NAME).read_bytes() == DATA


def test_a_part_with_wrong_bytes(hub: Hub, folder: Path) -> None:
    folder.mkdir()
    part = part_path(find_files(REPO, NAME, "main")[0], folder)
    for wrong in (b"x" * 1000, DATA + b"more"):
        part.write_bytes(wrong)
        assert "wrong bytes came" in refusal(lambda: get(folder))
        assert names(folder) == []


def test_files_outside_lfs_have_gits_checksum(hub: Hub, folder: Path) -> None:
    hub.plain, hub.faults = True, ["wrong"]
    assert "wrong bytes came" in refusal(lambda: get(folder))
    get(folder)
    assert (folder / NAME).read_bytes() == DATA


def test_another_file_of_the_same_name_stays(hub: Hub, folder: Path) -> None:
    folder.mkdir()
    for other in (b"mine", DATA[:-1] + b"x"):
        (folder / NAME).write_bytes(other)
        text = refusal(lambda: get(folder))
        assert text.startswith(f"{folder / NAME}: is there, but is not the file of {REPO}")
        assert (folder / NAME).read_bytes() == other
    assert hub.sent == 0


def test_all_parts_of_a_split_file(hub: Hub, folder: Path) -> None:
    parts = [f"Q8_0/big-0000{index}-of-00003.gguf" for index in (1, 2, 3)]
    hub.files |= {name: DATA[:index] for index, name in enumerate(parts, 10)}
    for asked in parts:
        assert get(folder, asked)[0] == folder / "big-00001-of-00003.gguf"
    assert [(folder / Path(name).name).stat().st_size for name in parts] == [10, 11, 12]
    del hub.files[parts[1]]
    assert f"{parts[1]} is missing" in refusal(lambda: get(folder, parts[0]))


def test_names_of_parts() -> None:
    assert part_names("a-00001-of-00002.gguf") == ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"]
    assert part_names("a-1-of-2.gguf") == ["a-1-of-2.gguf"]
    assert "no part 3 of 2" in refusal(lambda: part_names("a-00003-of-00002.gguf"))


def test_one_of_two_at_once_waits_for_none(hub: Hub, folder: Path) -> None:
    hub.pause = 0.01
    errors = []

    def act() -> None:
        try:
            get(folder)
        except UserError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=act) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 1
    assert errors[0].endswith("another process downloads it: wait for that one")
    assert (folder / NAME).read_bytes() == DATA
    assert names(folder) == [NAME]
    assert hub.sent == len(DATA)


def test_a_disk_that_is_too_small(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file,) = find_files(REPO, NAME, "main")
    large = RemoteFile(file.repo, file.name, 5_000_000_000, file.digest, file.url)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2_000_000_000))
    text = refusal(lambda: download([large], folder))
    assert "5.00 GB are needed, and 2.00 GB are free: make room for 3.00 GB" in text
    # What has come of it needs no more room.
    with part_path(large, folder).open("wb") as part:
        part.truncate(3_500_000_000)
    check_room([large], folder)


def test_a_disk_full_in_the_middle(hub: Hub, folder: Path) -> None:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    done = finish("get", REPO, NAME, "--folder", folder, preexec_fn=limit)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last == (
        f"download-model: {folder}: cannot be written: File too large; what has come stays"
    )
    assert hub.requests
    came = part_path(find_files(REPO, NAME, "main")[0], folder).stat().st_size
    assert 0 < came <= 1 << 20
    hub.requests.clear()
    get(folder)
    assert (folder / NAME).read_bytes() == DATA
    assert hub.ranges() == [f"bytes={came}-{len(DATA) - 1}"]


def test_a_folder_that_cannot_be(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text = refusal(lambda: get(tmp_path / "file" / "models"))
    assert "cannot be written: Not a directory" in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_for_reading_only(hub: Hub, folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o555)
    assert "cannot be written: Permission denied" in refusal(lambda: get(folder))
    folder.chmod(0o755)
    assert names(folder) == []


@pytest.mark.parametrize("name", ["/etc/evil.gguf", "a/b/evil.gguf"])
def test_no_name_leads_out_of_the_folder(name: str, hub: Hub, folder: Path) -> None:
    assert f"{REPO}: has no {name}" in refusal(lambda: get(folder, name))
    hub.files[name] = b"data"  # a Hub that is not to be trusted
    assert get(folder, name) == [folder / "evil.gguf"]
    assert names(folder) == ["evil.gguf"]
    hub.files["../../evil.gguf"] = b"data"
    assert "has no ../../evil.gguf" in refusal(lambda: get(folder, "../../evil.gguf"))


def test_names_that_a_terminal_would_obey(hub: Hub, folder: Path) -> None:
    hub.files["\x1b[2Jx.gguf"] = b"data"
    assert refusal(lambda: get(folder, "other.gguf")).endswith(f"its GGUF files: {NAME}")


def test_a_file_that_is_not_there(hub: Hub, folder: Path) -> None:
    hub.files["other.gguf"], hub.files["README.md"] = b"", b""
    text = refusal(lambda: get(folder, "absent.gguf"))
    assert text == f"{REPO}: has no absent.gguf; its GGUF files: {NAME}, other.gguf"
    assert "name a file; its GGUF files" in refusal(lambda: find_files(REPO, None, "main"))
    assert not folder.exists()


def test_repositories_that_are_not_there(hub: Hub) -> None:
    text = refusal(lambda: find_files("no/such", NAME, "main"))
    assert text.startswith(f"no/such: no such repository at {hub.url}, or a private one")
    assert "has no revision 'v9'" in refusal(lambda: find_files(REPO, NAME, "v9"))
    for name in ("a/b/c", "../..", "a b/c", "-"):
        assert "not a repository's name" in refusal(partial(find_files, name, NAME, "main"))


def test_a_private_repository(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "hf_secret"
    assert "set HF_TOKEN" in refusal(lambda: get(folder))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    get(folder)
    assert (folder / NAME).read_bytes() == DATA
    # The token goes to the Hub, and nowhere else.
    carried = {(request.host, request.authorization) for request in hub.requests[-2:]}
    assert carried == {("hub", "Bearer hf_secret"), ("store", "")}


def test_a_gated_repository(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token, hub.gated = "hf_secret", True
    text = refusal(lambda: get(folder))
    assert text.startswith(f"{REPO}: gated: accept its licence at {hub.url}/{REPO}, and set HF_TOK")
    assert names(folder) == []
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    get(folder)
    assert (folder / NAME).read_bytes() == DATA


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (401, {"x-error-message": "Invalid credentials in Authorization header"}, "is not valid"),
        (403, {}, "forbids it to this token"),
        (404, {}, "no such repository"),
        (429, {}, "too many requests"),
        (451, {}, "answers 451"),
        (500, {}, "answers 500: try again later"),
    ],
)
def test_what_statuses_mean(status: int, headers: dict[str, str], words: str) -> None:
    assert words in str(hub_module.refusal(REPO, "main", status, headers))


def test_a_list_that_comes_at_last(hub: Hub) -> None:
    hub.statuses = [429, 503]
    assert find_files(REPO, NAME, "main")
    hub.statuses = [429] * 9
    assert "too many requests" in refusal(lambda: find_files(REPO, NAME, "main"))


def test_how_long_a_server_asks_to_wait() -> None:
    assert hub_module.asked_pause({"retry-after": "7"}) == 7
    assert hub_module.asked_pause({"retry-after": "86400"}) == 60
    assert hub_module.asked_pause({"retry-after": "Fri, 31 Dec 2027 23:59:59 GMT"}) is None


@pytest.mark.parametrize(
    "page", [b"<html>log in</html>", b"[]", b"{}", b'{"id": 1, "siblings": 5}']
)
def test_another_site_in_its_place(page: bytes, hub: Hub) -> None:
    hub.page = page
    with pytest.raises(UnreachableError):
        find_files(REPO, NAME, "main")


def test_offline_it_says_what_to_copy_where(hub: Hub, folder: Path) -> None:
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = finish("get", "qwen3-0.6b", "--folder", folder, env=environment)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert (
        "copy http://127.0.0.1:9/Qwen/Qwen3-0.6B-GGUF/resolve/main/Qwen3-0.6B-Q8_0.gguf (SHA-256 "
        "9465e63a22add5354d9bb4b99e90117043c7124007664907259bd16d043bb031) to "
        f"{folder}/Qwen3-0.6B-Q8_0.gguf"
    ) in done.stderr
    environment["HF_HUB_OFFLINE"] = "1"
    done = finish("get", "a/b", "c-00001-of-00002.gguf", "--folder", folder, env=environment)
    assert done.returncode == 2
    for part in (1, 2):
        assert f"c-0000{part}-of-00002.gguf to {folder}/c-0000{part}-of-" in done.stderr


def test_offline_a_copy_is_verified_by_the_list(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from orin_llm.models import catalogue, command

    digest = hashlib.sha256(DATA).hexdigest()
    dimensions = 1, 1, 1, 1, 1
    entry = Listed("mini", REPO, NAME, len(DATA), digest, "1", "MIT", "llama", *dimensions)
    monkeypatch.setattr(catalogue, "catalogue", lambda: {"mini": entry})
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    folder.mkdir()
    (folder / NAME).write_bytes(DATA)
    command.get("Mini", folder=folder)
    assert capsys.readouterr().out == f"{folder / NAME}\n"
    (folder / NAME).write_bytes(DATA[:-1])
    assert "is not the file of" in refusal(lambda: command.get("mini", folder=folder))


def test_where_models_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from orin_llm.models.command import _place

    monkeypatch.delenv("ORINIX_MODELS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _place(None) == tmp_path / "models"
    monkeypatch.setenv("ORINIX_MODELS", "/var/lib/llm")
    assert _place(None) == Path("/var/lib/llm")
    assert _place(tmp_path) == tmp_path
