"""`split_batch` cuts a batch into shards of similar length."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minibert.training import split_batch
from tests.training.test_engine import batch


@given(st.integers(1, 12), st.integers(1, 14), st.integers(0, 99))
def test_split_batch_partitions_a_batch_by_length(count, parts, seed):
    inputs, labels = batch(seed, count)
    inputs["token_type_ids"] = inputs["input_ids"] % 2
    classes = np.arange(count)
    shards = split_batch(inputs, classes, parts, trim=True)
    assert len(shards) == min(count, parts)
    assert sorted(np.concatenate([part for _, part in shards])) == list(range(count))
    lengths = inputs["attention_mask"].sum(axis=1)
    longest = [lengths[part].max() for _, part in shards]
    assert longest == sorted(longest)
    for (part, chosen), length in zip(shards, longest, strict=True):
        for name in inputs:
            assert (part[name] == inputs[name][chosen, :length]).all()
    tokens = [lengths[part].sum() for _, part in shards]
    assert max(tokens) <= lengths.sum() / len(shards) + 2 * lengths.max()
    # Labels of tokens are trimmed with them.
    for (part, found), (_, chosen) in zip(
        split_batch(inputs, {"labels": labels, "of": classes}, parts, trim=True),
        shards,
        strict=True,
    ):
        assert (found["of"] == chosen).all()
        assert (found["labels"] == labels[chosen, : part["input_ids"].shape[1]]).all()
    whole = split_batch(inputs, labels, parts)
    assert all(found.shape[1] == part["input_ids"].shape[1] == 9 for part, found in whole)
