"""The GPU's clock: found on every board, pinned, remembered, put back."""

import errno
import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orin_core.cli import UserError
from orin_core.jetson import find_gpu
from orin_tune import devfreq, sysfs
from tune_boards import BOARDS, JETSONS, MHZ_R36, Board, Command, make_board

LOW, HIGH = 306_000_000, 1_300_500_000


def hz(gpu: Path, name: str) -> int | None:
    return sysfs.number((gpu / name).read_text())


@pytest.mark.parametrize("name", BOARDS)
def test_finds_the_gpu_of_every_board(board: Board, name: str) -> None:
    found = find_gpu(board(name))
    assert (found and found.name) == BOARDS[name][0]


@pytest.mark.parametrize("name", JETSONS)
def test_pin_and_restore_through_the_command(
    board: Board, orin_tune: Command, tmp_path: Path, name: str
) -> None:
    root, state = board(name), tmp_path / "run/orin-tune/gpu.json"
    gpu = root / "class/devfreq" / str(BOARDS[name][0])
    before = {path: path.read_text() for path in root.glob("class/devfreq/*/m??_freq")}
    low, high = hz(gpu, "min_freq"), hz(gpu, "max_freq")

    done = orin_tune("pin", "--path.sysfs", root, "--state", state)
    assert (done.code, done.err) == (0, ""), done
    assert (hz(gpu, "min_freq"), hz(gpu, "max_freq")) == (high, high)
    assert json.loads(state.read_text()) == {"device": gpu.name, "min_freq_hz": low}
    changed = {path.parent.name for path, text in before.items() if path.read_text() != text}
    assert changed == {gpu.name}, "only the GPU is touched"

    done = orin_tune("restore", "--path.sysfs", root, "--state", state)
    assert (done.code, done.err) == (0, ""), done
    assert (hz(gpu, "min_freq"), hz(gpu, "max_freq")) == (low, high)
    assert list(state.parent.iterdir()) == []


def test_messages_say_what_was_done(agx: Path, tmp_path: Path) -> None:
    root, state = tmp_path / "sys", tmp_path / "state"
    assert devfreq.pin(root, state) == "17000000.gpu: pinned at 1300.5 MHz (minimum was 306 MHz)"
    assert devfreq.pin(root, state) == "17000000.gpu: already pinned at 1300.5 MHz"
    assert devfreq.restore(root, state) == "17000000.gpu: minimum back at 306 MHz"
    assert devfreq.restore(root, state) == f"nothing to restore: no {state}"


def test_a_second_pin_keeps_the_first_value(agx: Path, tmp_path: Path) -> None:
    root, state = tmp_path / "sys", tmp_path / "state"
    for _ in range(3):
        devfreq.pin(root, state)
    devfreq.restore(root, state)
    assert hz(agx, "min_freq") == LOW


def test_pins_again_after_a_new_power_mode(agx: Path, tmp_path: Path) -> None:
    """nvpmodel moves max_freq under a pin: the new maximum counts, the first minimum stays."""
    root, state = tmp_path / "sys", tmp_path / "state"
    (agx / "max_freq").write_text("612000000\n")
    devfreq.pin(root, state)
    (agx / "max_freq").write_text(f"{HIGH}\n")
    devfreq.pin(root, state)
    assert hz(agx, "min_freq") == HIGH
    devfreq.restore(root, state)
    assert hz(agx, "min_freq") == LOW


def test_a_clock_that_others_locked_stays_locked(agx: Path, tmp_path: Path) -> None:
    """jetson_clocks locked it before us, so unlocking is not ours."""
    root, state = tmp_path / "sys", tmp_path / "state"
    (agx / "min_freq").write_text(f"{HIGH}\n")
    assert "already pinned" in devfreq.pin(root, state)
    assert not state.exists()
    devfreq.restore(root, state)
    assert hz(agx, "min_freq") == HIGH


def test_the_state_is_written_before_the_clock(
    agx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, state = tmp_path / "sys", tmp_path / "state"

    def interrupted(path: Path, value: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sysfs, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        devfreq.pin(root, state)
    assert json.loads(state.read_text())["min_freq_hz"] == LOW
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state", "sys"]


def test_a_state_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop while the file is being written leaves none, not half of one."""
    monkeypatch.setattr(
        Path, "replace", lambda self, target: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    make_board(tmp_path, "agx-orin-r36")
    with pytest.raises(KeyboardInterrupt):
        devfreq.pin(tmp_path / "sys", tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_restore_below_a_lowered_maximum(
    agx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel shows min_freq no higher than max_freq, and that is no failure."""
    root, state = tmp_path / "sys", tmp_path / "state"
    state.write_text(json.dumps({"device": agx.name, "min_freq_hz": HIGH}))
    (agx / "max_freq").write_text("612000000\n")
    monkeypatch.setattr(
        sysfs, "write", lambda path, value: path.write_text(f"{min(value, 612_000_000)}\n")
    )
    devfreq.restore(root, state)
    assert hz(agx, "min_freq") == 612_000_000 and not state.exists()


@pytest.mark.parametrize("name", [name for name in BOARDS if name not in JETSONS])
def test_no_gpu(board: Board, orin_tune: Command, tmp_path: Path, name: str) -> None:
    options = ("--path.sysfs", board(name), "--state", tmp_path / "state")
    assert "no Jetson GPU in" in orin_tune("pin", *options).error
    assert not (tmp_path / "state").exists()
    done = orin_tune("restore", *options)
    assert (done.code, done.err) == (0, "") and "nothing to restore" in done.out
    (tmp_path / "state").write_text('{"device": "17000000.gpu", "min_freq_hz": 306000000}')
    assert "no Jetson GPU in" in orin_tune("restore", *options).error
    assert (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "Permission denied; run as root"),
        (errno.EPERM, "Operation not permitted; run as root"),
        (errno.EROFS, "Read-only file system; run as root where /sys is writable"),
        (errno.EINVAL, "Invalid argument; the driver refuses that value"),
        (errno.EBUSY, "Device or resource busy; the driver is busy, try again"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_the_kernel_refuses(
    agx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(fd: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    root, state = tmp_path / "sys", tmp_path / "state"
    with monkeypatch.context() as patch, pytest.raises(UserError) as caught:
        patch.setattr("orin_tune.sysfs.os.write", refuse)
        devfreq.pin(root, state)
    assert str(caught.value).startswith(f"{agx / 'min_freq'}: {words}")
    devfreq.restore(root, state)
    assert hz(agx, "min_freq") == LOW and not state.exists()


def test_the_kernel_ignores(agx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orin_tune.sysfs.os.write", lambda fd, data: len(data))
    with pytest.raises(
        UserError, match=r"min_freq: the kernel kept 306 MHz instead of 1300\.5 MHz"
    ):
        devfreq.pin(tmp_path / "sys", tmp_path / "state")
    assert (tmp_path / "state").exists(), "so that restore can put right what was half done"


def test_one_write_of_the_bare_number(
    agx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[bytes] = []
    opened: list[int] = []
    real_open, real_write = os.open, os.write

    def spy_open(path: Path, flags: int) -> int:
        opened.append(flags)
        return real_open(path, flags)

    def spy_write(fd: int, data: bytes) -> int:
        writes.append(data)
        return real_write(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr("orin_tune.sysfs.os.write", spy_write)
        patch.setattr("orin_tune.sysfs.os.open", spy_open)
        sysfs.write(agx / "min_freq", HIGH)
    assert writes == [b"1300500000\n"]
    assert opened == [os.O_WRONLY | os.O_CLOEXEC], "neither created nor truncated"


def test_eagain_is_one_line(agx: Path, orin_tune: Command, tmp_path: Path) -> None:
    """A pipe whose writer is silent answers EAGAIN, as the sensors of a sleeping engine do."""
    (agx / "max_freq").unlink()
    os.mkfifo(agx / "max_freq")
    writer = os.open(agx / "max_freq", os.O_RDWR)
    try:
        done = orin_tune("pin", "--path.sysfs", tmp_path / "sys", "--state", tmp_path / "state")
    finally:
        os.close(writer)
    assert f"{agx / 'max_freq'}: Resource temporarily unavailable" in done.error


@pytest.mark.parametrize("text", ["", "garbage", "-5", "1.5", "99999999999999999999", "0"])
def test_a_maximum_that_is_none(agx: Path, orin_tune: Command, tmp_path: Path, text: str) -> None:
    (agx / "max_freq").write_text(text)
    done = orin_tune("pin", "--path.sysfs", tmp_path / "sys", "--state", tmp_path / "state")
    assert str(agx / "max_freq") in done.error
    assert hz(agx, "min_freq") == LOW


GARBAGE = [
    "",
    "{",
    "[]",
    "null",
    "\0",
    '{"device": "17000000.gpu"}',
    '{"device": 1, "min_freq_hz": 5}',
    '{"device": "17000000.gpu", "min_freq_hz": true}',
    '{"device": "17000000.gpu", "min_freq_hz": -1}',
    '{"device": "17000000.gpu", "min_freq_hz": "306000000"}',
    '{"device": "17000000.gpu", "min_freq_hz": 1e400}',
    "[" * 100_000,
    "9" * 5000,
]


@pytest.mark.parametrize("text", GARBAGE, ids=range(len(GARBAGE)))
def test_a_garbage_state_still_unlocks(agx: Path, tmp_path: Path, text: str) -> None:
    root, state = tmp_path / "sys", tmp_path / "state"
    (agx / "min_freq").write_text(f"{HIGH}\n")
    state.write_text(text)
    with pytest.raises(UserError, match="not a state of orin-tune; run `orin-tune restore` first"):
        devfreq.pin(root, state)
    assert state.read_text() == text
    assert devfreq.restore(root, state) == (
        f"17000000.gpu: minimum back at 306 MHz (the lowest: {state} was not a state of orin-tune)"
    )
    assert hz(agx, "min_freq") == MHZ_R36[0] * 1e6 and not state.exists()


@pytest.mark.parametrize("text", [None, "", "x y"])
def test_a_garbage_state_without_a_table_of_clocks(
    agx: Path, orin_tune: Command, tmp_path: Path, text: str | None
) -> None:
    (tmp_path / "state").write_text("garbage")
    (agx / "available_frequencies").unlink()
    if text is not None:
        (agx / "available_frequencies").write_text(text)
    done = orin_tune("restore", "--path.sysfs", tmp_path / "sys", "--state", tmp_path / "state")
    assert str(agx / "available_frequencies") in done.error
    assert (tmp_path / "state").exists() and hz(agx, "min_freq") == LOW


@pytest.mark.parametrize("command", ["pin", "restore"])
def test_a_state_of_a_device_that_is_gone(
    agx: Path, orin_tune: Command, tmp_path: Path, command: str
) -> None:
    state = tmp_path / "state"
    state.write_text('{"device": "17000000.ga10b", "min_freq_hz": 5}')
    error = orin_tune(command, "--path.sysfs", tmp_path / "sys", "--state", state).error
    assert f"{state} is of '17000000.ga10b', which is not in" in error
    assert "check --path.sysfs, or delete that file" in error
    assert state.exists() and hz(agx, "min_freq") == LOW


@pytest.mark.parametrize("command", ["pin", "restore"])
def test_a_state_that_cannot_be(
    agx: Path, orin_tune: Command, tmp_path: Path, command: str
) -> None:
    options = ("--path.sysfs", tmp_path / "sys", "--state")
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").write_text("")
    assert f"{tmp_path / 'dir'}: Is a dir" in orin_tune(command, *options, tmp_path / "dir").error
    below = tmp_path / "file/state"
    assert f"{below}: Not a directory" in orin_tune(command, *options, below).error
    assert hz(agx, "min_freq") == LOW


CONTENT = st.one_of(
    st.binary(max_size=60),
    st.integers(-(10**20), 10**20).map(lambda value: f"{value}\n".encode()),
    st.sampled_from([b"306000000\n", b"1300500000\n", b"\xff", b"\0", b"gpu\0"]),
)
STATE = st.one_of(
    CONTENT,
    st.builds(
        lambda device, low: json.dumps({"device": device, "min_freq_hz": low}).encode(),
        st.sampled_from(["17000000.gpu", "../../../etc", ""]),
        st.one_of(st.integers(), st.floats(), st.none(), st.text(max_size=4)),
    ),
)


@settings(deadline=None, max_examples=200)
@given(
    st.dictionaries(
        st.sampled_from(["min_freq", "max_freq", "available_frequencies", "device/of_node/name"]),
        CONTENT,
    ),
    st.none() | STATE,
)
def test_hostile_files_end_in_success_or_one_error(
    files: dict[str, bytes], state_content: bytes | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, state = make_board(Path(folder), "agx-orin-r36"), Path(folder) / "state"
        for name, content in files.items():
            (root / "class/devfreq/17000000.gpu" / name).write_bytes(content)
        if state_content is not None:
            state.write_bytes(state_content)
        for act in (devfreq.pin, devfreq.pin, devfreq.restore, devfreq.restore):
            try:
                assert act(root, state)
            except UserError as error:
                assert folder in str(error)
