"""Tables are Markdown, aligned, and there row by row."""

import pytest

from orin_core.table import Table


def test_rows_align(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table({"network": 9, "images/s": 5})
    assert capsys.readouterr().out.count("\n") == 2
    table.row(["vgg16", "12.5"])
    table.row(["resnet18", "-"])
    assert capsys.readouterr().out == (
        "| vgg16     |     12.5 |\n"
        "| resnet18  | -        |\n"
    )  # fmt: skip
