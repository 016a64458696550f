"""Power modes: looked up by name, set without answering questions, read back."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orin_core.cli import UserError
from orin_core.jetson import Mode, parse_modes
from orin_tune import nvpmodel as nvp
from tune_boards import Command, Nvpmodel


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("MAXN", 0),
        ("maxn", 0),
        ("15W", 1),
        ("30W", 2),
        ("30w", 2),
        ("MODE_30W", 2),
        ("mode_50w", 3),
        ("50W", 3),
    ],
)
def test_names_of_the_agx_orin_64gb(conf: Path, name: str, number: int) -> None:
    """The mapping that circulates, 30W to 1 and 50W to 2, is wrong."""
    assert nvp.resolve(name, nvp.load_modes(conf), conf).id == number


def test_the_file_decides_and_not_a_table_of_ours(tmp_path: Path) -> None:
    conf = tmp_path / "other.conf"
    conf.write_text("< POWER_MODEL ID=7 NAME=30W >\n< POWER_MODEL ID=1 NAME=MODE_50W >\r\n")
    modes = nvp.load_modes(conf)
    assert [nvp.resolve(name, modes, conf).id for name in ("30W", "50W")] == [7, 1]


def test_the_exact_name_wins_over_the_one_without_prefix(tmp_path: Path) -> None:
    modes = parse_modes("< POWER_MODEL ID=0 NAME=MODE_30W >\n< POWER_MODEL ID=1 NAME=30W >\n")
    assert nvp.resolve("30w", modes, tmp_path).id == 1
    assert nvp.resolve("mode_30w", modes, tmp_path).id == 0


def test_one_name_with_two_ids_is_refused(tmp_path: Path) -> None:
    modes = parse_modes("< POWER_MODEL ID=0 NAME=30W >\n< POWER_MODEL ID=1 NAME=30W >\n")
    with pytest.raises(UserError, match=r"30W \(id 0\), 30W \(id 1\)"):
        nvp.resolve("30W", modes, tmp_path)


def test_sets_the_mode_and_reads_it_back(
    orin_tune: Command, conf: Path, nvpmodel: Nvpmodel
) -> None:
    tool = nvpmodel("takes")
    tool.path.with_name("record").write_text("0\n")
    done = orin_tune("power-mode", "30W", "--conf", conf, "--nvpmodel", tool.path)
    assert (done.code, done.out, done.err) == (0, "power mode MODE_30W (id 2)\n", "")
    assert tool.calls == [f"-f {conf} -m 2", f"-f {conf} -q"]


def test_sets_even_the_mode_that_is_recorded_already(
    orin_tune: Command, conf: Path, nvpmodel: Nvpmodel
) -> None:
    """The record survives a boot at which the mode was not applied."""
    tool = nvpmodel("takes")
    assert orin_tune("power-mode", "30W", "--conf", conf, "--nvpmodel", tool.path).code == 0
    assert tool.calls[0] == f"-f {conf} -m 2"


REBOOT = "a reboot is needed: run `sudo {tool} -f {conf} -m 0` and answer YES."


@pytest.mark.parametrize(
    ("behaviour", "remedy", "words"),
    [
        ("asks-reboot", REBOOT, "(exit code 234) says: NVPM "),
        ("asks-reboot", REBOOT, "NVPM ERROR: bad input!"),
        ("asks-reboot", REBOOT, "Golden image context is already created; NVPM WARN: Reboot"),
        ("asks-reboot-exits-0", REBOOT, "Reboot required for changing to this power mode: 0"),
        ("lies", REBOOT, "NV Power Mode: MODE_30W; 2"),
        ("mask-busy", "a reboot is needed: the mode must be set at boot", "tpc_pg_mask: 16"),
        ("needs-root", "; run as root.", "tpc_pg_mask: 13"),
        ("fails-with-0", "; run as root.", "(exit code 0) says: NVPM ERROR"),
        ("other-board", "check that {conf} is this board's file", "cpu11/online: 2"),
        ("crashes", "check that {conf} is this board's file", "(exit code -11) says: nothing"),
    ],
)
def test_a_mode_that_did_not_take(
    orin_tune: Command, conf: Path, nvpmodel: Nvpmodel, behaviour: str, remedy: str, words: str
) -> None:
    tool = nvpmodel(behaviour)
    error = orin_tune("power-mode", "maxn", "--conf", conf, "--nvpmodel", tool.path).error
    assert "power mode MAXN (id 0) did not take; " in error
    assert remedy.format(tool=tool.path, conf=conf) in error
    assert words in error


def test_never_answers_the_reboot_question(
    orin_tune_process: Command, conf: Path, nvpmodel: Nvpmodel
) -> None:
    """The caller's stdin says YES, and must not reach nvpmodel; nor may --force."""
    tool = nvpmodel("asks-reboot")
    done = orin_tune_process("power-mode", "MAXN", "--conf", conf, "--nvpmodel", tool.path)
    assert "bad input!" in done.error
    assert not tool.path.with_name("record.rebooted").exists()
    assert not any("force" in call for call in tool.calls)


@pytest.mark.parametrize(
    "answer", ["echo 'NV Power Mode:'", "true", "echo 'NVPM ERROR: x'; exit 1"]
)
def test_a_query_that_names_no_mode(
    orin_tune: Command, conf: Path, nvpmodel: Nvpmodel, answer: str
) -> None:
    tool = nvpmodel("takes", query=answer)
    error = orin_tune("power-mode", "30W", "--conf", conf, "--nvpmodel", tool.path).error
    assert "-q` names no mode; run as root" in error


def test_the_name_alone_is_not_enough(orin_tune: Command, conf: Path, nvpmodel: Nvpmodel) -> None:
    tool = nvpmodel("takes", query="echo 'NV Power Mode: MODE_30W'; echo 1")
    assert (
        "a reboot is needed"
        in orin_tune("power-mode", "30W", "--conf", conf, "--nvpmodel", tool.path).error
    )


def test_a_question_that_waits_for_ever(
    monkeypatch: pytest.MonkeyPatch, conf: Path, nvpmodel: Nvpmodel
) -> None:
    monkeypatch.setattr(nvp, "_TIMEOUT_S", 0.2)
    tool = nvpmodel("takes", query="exec sleep 30")
    with pytest.raises(UserError, match=r"did not end within 0.2 s; run `.* -q` by hand"):
        nvp.apply(Mode(2, "MODE_30W"), conf, str(tool.path))


def test_unknown_mode_lists_the_files(orin_tune: Command, conf: Path) -> None:
    error = orin_tune("power-mode", "60W", "--conf", conf).error
    assert f"no power mode '60W' in {conf}; it has MAXN, MODE_15W, MODE_30W, MODE_50W\n" in error


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda path: None, "no such file; on a Jetson start nvpmodel.service"),
        (lambda path: path.mkdir(), "Is a directory; name a readable file with --conf"),
        (lambda path: path.write_bytes(b"\x7fELF\0\xff" * 99), "no POWER_MODEL line"),
        (lambda path: path.write_text(""), "no POWER_MODEL line"),
    ],
)
def test_a_bad_conf(
    orin_tune: Command, tmp_path: Path, prepare: Callable[[Path], object], words: str
) -> None:
    conf = tmp_path / "nvpmodel.conf"
    prepare(conf)
    error = orin_tune("power-mode", "30W", "--conf", conf).error
    assert f"{conf}: " in error and words in error and "--conf" in error


def test_a_missing_or_broken_program(orin_tune: Command, conf: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\0\1\2")
    broken.chmod(0o755)
    for tool, reason in ((tmp_path / "none", "No such file"), (broken, "Exec format error")):
        error = orin_tune("power-mode", "30W", "--conf", conf, "--nvpmodel", tool).error
        assert f"{tool}: {reason}" in error and "install NVIDIA's nvpmodel" in error


def test_words_are_one_harmless_line(orin_tune: Command, conf: Path, nvpmodel: Nvpmodel) -> None:
    query = r"printf '\033[31mred\r\n\377\n'; yes long | head -c 100000"
    tool = nvpmodel("takes", query=query)
    error = orin_tune("power-mode", "30W", "--conf", conf, "--nvpmodel", tool.path).error
    assert "\033" not in error and len(error) < 1000 and "?[31mred" in error


LINE = st.one_of(
    st.text(max_size=40),
    st.builds(
        "< POWER_MODEL ID={} NAME={} >".format,
        st.one_of(st.integers(-5, 10**6), st.text(max_size=5)),
        st.one_of(st.sampled_from(["MAXN", "MODE_30W", "30W", "15W"]), st.text(max_size=9)),
    ),
)


@given(st.lists(LINE, max_size=8).map("\n".join), st.sampled_from(["30W", "MAXN", "\0", "MODE_"]))
def test_hostile_confs_give_a_listed_mode_or_one_error(text: str, name: str) -> None:
    modes = parse_modes(text)
    try:
        mode = nvp.resolve(name, modes, Path("conf"))
    except UserError:
        return
    assert mode in modes and 0 <= mode.id <= 9999
    assert mode.name.upper().removeprefix("MODE_") == name.upper().removeprefix("MODE_")
    assert re.search(rf"^<[ \t]*POWER_MODEL[ \t]+ID=0*{mode.id}[ \t]", text, re.M)


@given(st.binary(max_size=200))
def test_hostile_conf_files(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    conf = tmp_path_factory.getbasetemp() / "hostile.conf"
    conf.write_bytes(data)
    try:
        assert nvp.load_modes(conf)
    except UserError as error:
        assert str(conf) in str(error)
