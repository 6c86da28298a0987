import pathlib


def test_quiet(tmp_path):
    (tmp_path / "x").write_text("x")
    assert pathlib.Path("Makefile").exists()
