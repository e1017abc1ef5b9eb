"""`benchmarks.families`: each family's configuration, equal results, and the rows of the table."""

import numpy as np
import pytest

from benchmarks.families import FAMILIES, LENGTHS, B, check_equal, compare, config_of
from minibert.models.table import FAMILIES as KNOWN


def test_every_family_has_base_width_two_layers_and_room_for_the_texts():
    same_body = {"minibert", "xlm-roberta", "camembert"}  # as BERT and RoBERTa
    assert {*FAMILIES} == {*KNOWN} - same_body
    for name in FAMILIES:
        config = config_of(name)
        assert config.model_type == name
        sizes = config.hidden_size, config.num_hidden_layers, config.vocab_size, config.longest
        assert sizes == (768, 2, 8192, max(LENGTHS))


def test_windows_and_distances_are_those_of_published_models():
    assert config_of("modernbert").kinds == ("full_attention", "sliding_attention")
    assert config_of("deberta-v2").span == 256


def test_speeds_are_compared_within_a_round():
    found = {"minibert": [[1.0, 2.0], [2.0, 4.0]], "PyTorch": [[2.0, 2.0], [3.0, 2.0]]}
    rows = list(compare("bert", 128, found))
    assert rows[0] == (
        "bert", f"{B} x 128", "inference", "768 (512 to 1,024)", "427 (341 to 512)",
        "1.75 (1.50 to 2.00)",
    )  # fmt: skip
    assert rows[1][2:] == (
        "training step", "384 (256 to 512)", "512 (512 to 512)", "0.75 (0.50 to 1.00)"
    )  # fmt: skip


def test_different_losses_or_hidden_states_are_an_error():
    states = np.zeros((3, 4))
    check_equal({"minibert": (9.0, states), "PyTorch": (9.0001, states + 1e-5)})
    with pytest.raises(AssertionError, match="equal losses"):
        check_equal({"minibert": (9.0, states), "PyTorch": (9.1, states)})
    with pytest.raises(AssertionError, match="a difference of"):
        check_equal({"minibert": (9.0, states), "PyTorch": (9.0, states + 0.1)})
