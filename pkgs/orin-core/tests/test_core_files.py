"""Pictures in, results out."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from orin_core.cli import UserError
from orin_core.picture import load_picture
from orin_core.result import check_writable, write_json


def test_a_picture_is_turned_upright_and_rgb(tmp_path: Path) -> None:
    file = tmp_path / "sideways.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned by 90 degrees
    Image.new("L", (40, 20), 200).save(file, exif=exif)
    picture = load_picture(file)
    assert (picture.mode, picture.size) == ("RGB", (20, 40))


def test_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    file = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 4), 30000, np.uint16)).save(file)
    assert load_picture(file).getpixel((0, 0)) == (117, 117, 117)


def test_mistakes_with_pictures(tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    cut = tmp_path / "cut.png"
    Image.effect_noise((64, 64), 50).save(cut)
    cut.write_bytes(cut.read_bytes()[:200])
    float_tiff = tmp_path / "float.tiff"
    Image.new("F", (4, 4), 0.5).save(float_tiff)
    for file, words in (
        (float_tiff, "of no fixed range"),
        (tmp_path / "missing.jpg", "no such picture"),
        (text, "not a picture"),
        (cut, "cannot be read"),
        (tmp_path, "cannot be read"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            load_picture(file)
        assert str(caught.value).startswith(str(file))


@given(data=st.binary(max_size=400), head=st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n"]))
@settings(max_examples=200, deadline=None)
def test_hostile_bytes_are_never_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, head: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "hostile"
    file.write_bytes(head + data)
    with pytest.raises(UserError):
        load_picture(file)


def test_a_result_is_whole(tmp_path: Path) -> None:
    """Replaced in one step: what cannot be encoded leaves the former file as it was."""
    file = tmp_path / "result.json"
    write_json(file, {"rows": [{"median_seconds": 1.5}]})
    assert json.loads(file.read_text()) == {"rows": [{"median_seconds": 1.5}]}
    with pytest.raises(TypeError):
        write_json(file, {"rows": [object()]})
    assert json.loads(file.read_text()) == {"rows": [{"median_seconds": 1.5}]}
    assert list(tmp_path.iterdir()) == [file]


def test_a_result_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        write_json(tmp_path / "no folder" / "result.json", {})
    with pytest.raises(UserError, match="cannot be written"):
        check_writable(tmp_path / "no folder" / "result.json")


def test_checking_keeps_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    file.write_text("old")
    check_writable(file)
    assert file.read_text() == "old"
