"""`minibert corpus`."""

from minibert.data.builtin.corpus import Corpus
from tests.cli.helpers import run


def test_corpus_prints_the_numbers_of_documents_and_texts(tmp_path, capsys, monkeypatch):
    def small(folder, progress):
        folder.mkdir()
        return Corpus([["one paragraph"]], []), {"train": [("a", "text"), ("b", "text")]}

    monkeypatch.setattr("minibert.cli.corpus.write_builtin", small)
    assert run(["corpus", "--out", tmp_path / "new"]) == 0
    printed = capsys.readouterr().out
    assert "1 documents" in printed
    assert "2 texts, 2 classes" in printed
