"""`minibert similar`."""

from tests.cli.helpers import TEXTS, run


def test_similar_prints_the_query_itself_first(workspace, tmp_path, capsys):
    (tmp_path / "lines.txt").write_text("\n".join(TEXTS) + "\n", "utf-8")
    for text in TEXTS:
        assert run(["similar", workspace / "model", text, tmp_path / "lines.txt", "--top", 2]) == 0
        first, second = capsys.readouterr().out.splitlines()
        assert first == f"1.000\t{text}"
        assert second.split("\t")[1] in set(TEXTS) - {text}
