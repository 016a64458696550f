"""What ssh says and a test cannot provoke on loopback."""

import pytest

from connect_telemetry.diagnosis import explain, is_failure


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ssh: connect to host orin port 22: Connection timed out", "orin did not answer in time"),
        ("ssh: connect to host orin port 22: Operation timed out", "orin did not answer in time"),
        ("ssh: connect to host orin port 22: No route to host", "orin cannot be reached"),
        ("ssh: connect to host orin port 22: Network is unreachable", "orin cannot be reached"),
        (
            "Received disconnect from 10.0.0.2 port 22:2: Too many authentication failures",
            "IdentitiesOnly",
        ),
    ],
)
def test_known_words(line: str, words: str) -> None:
    assert is_failure(line)
    assert words in explain([line], "orin")


@pytest.mark.parametrize(
    "line",
    [
        "Permission denied, please try again.",
        "Warning: Permanently added 'orin' (ED25519) to the list of known hosts.",
        "Authorised users only.",
    ],
)
def test_words_of_a_login_that_goes_on(line: str) -> None:
    assert not is_failure(line)


def test_the_cause_wins_over_its_effect() -> None:
    lines = ["Connection closed by 10.0.0.2 port 22", "stdio forwarding failed"]
    assert "jump host" in explain(lines, "orin")


def test_new_words_are_quoted() -> None:
    assert explain(["~/.ssh/config: line 3: Bad", "terminating"], "orin") == (
        "orin: terminating (ssh -v orin says more)"
    )
    assert "without a word" in explain([], "orin")
