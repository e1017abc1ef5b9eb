"""Bugs in tokens, corpora, masking and tasks."""

from types import SimpleNamespace

import numpy as np

from minibert import FeatureExtractor
from minibert.data import token_cache
from minibert.data.corpus import PackedSequences
from minibert.data.masking import mask_tokens
from minibert.data.next_sentence import next_sentence_pairs
from minibert.data.sentence_order import middle_of, sentence_order_pairs
from minibert.data.word_alignment import word_windows
from minibert.io.number_files import read_numbers
from minibert.tasks import RegressionTask, tagging
from minibert.tasks.entities import find_entities
from minibert.tasks.metrics import ClassificationMetrics, f1
from minibert.tokenization import Vocabulary
from tests.data import (
    test_corpus,
    test_masking,
    test_next_sentence,
    test_sentence_order,
    test_token_cache,
)
from tests.inference import test_features
from tests.mutations.checks import example
from tests.mutations.mutation import Everywhere, Place, mutation
from tests.tasks import test_metrics
from tests.tokenization import test_vocabulary
from tests.training import test_finetune

RIGHT_ORDER = sentence_order_pairs
RIGHT_KEY = token_cache._key
RIGHT_SEQUENCES = PackedSequences.__getitem__


def shortest_first(self, word):
    split, start = [], 0
    ids, longest = self._first
    while start < len(word):
        for end in range(start + 1, min(len(word), start + longest) + 1):
            i = ids.get(word[start:end])
            if i is not None:
                break
        else:
            return None
        split.append((i, end))
        start = end
        ids, longest = self._following
    return split


def separator_after_the_padding(self, indices):
    rows = RIGHT_SEQUENCES(self, indices)
    pad = self.tokenizer.pad_token_id
    for row in rows[rows[:, -1] == pad]:
        row[np.flatnonzero(row != pad)[-1]] = pad
    rows[:, -1] = self.tokenizer.sep_token_id
    return rows


def held_out_files_left_out_of_the_key(texts, others, share, tokenizer, document_end):
    return RIGHT_KEY(texts, [], share, tokenizer, document_end)


def any_length(path, dtype, length, checksum):
    """Read a file of numbers without comparing it with what was written."""
    return np.fromfile(path, dtype)


def special_noise(ids, special_ids, mask_id, vocab_size, rng, share=0.15):
    shown, labels = mask_tokens(ids, special_ids, mask_id, vocab_size, rng, share)
    noise = (labels != -100) & (shown != mask_id) & (shown != ids)
    return np.where(noise, rng.integers(0, vocab_size, ids.shape), shown), labels


def two_draws(ids, special_ids, mask_id, vocab_size, rng, share=0.15):
    """Mask 80 % by one draw, and replace 10 % of all targets by another."""
    shown, labels = mask_tokens(ids, special_ids, mask_id, vocab_size, rng, share)
    noise = (labels != -100) & (rng.random(ids.shape) < 0.1)
    return np.where(noise, rng.integers(5, vocab_size, ids.shape), shown), labels


def never_another_text(rows, numbers, tokenizer, rng):
    own = SimpleNamespace(integers=lambda *_: numbers, random=rng.random)
    return next_sentence_pairs(rows, numbers, tokenizer, own)


def order_of_the_text_is_one(rows, numbers, tokenizer, rng):
    ids, types, labels = RIGHT_ORDER(rows, numbers, tokenizer, rng)
    return ids, types, 1 - labels


def in_the_middle(ends):
    return -(-len(ends) // 2)


def first_words_again(tokenizer, words, longest):
    return (
        (encoding, 0, places) for encoding, _, places in word_windows(tokenizer, words, longest)
    )


def mean_of_all_names(self):
    return float(f1(*self._counts()).mean())


def neighbours_joined(tags):
    return find_entities([tag.replace("B-", "I-") for tag in tags])


def never_denormalized(self, model):
    return type(self)(self.names)


def mean_over_padding_too(self, x, mask):
    return x.mean(axis=1)


MUTATIONS = [
    mutation(
        "the shortest piece first",
        Place(Vocabulary, "split_word"),
        shortest_first,
        example(
            test_vocabulary.test_split_word_is_greedy,
            pieces=["a", "ab", "##b", "##c", "##bc"], word="abc",
        ),
    ),
    mutation(
        "[SEP] after the padding",
        Place(PackedSequences, "__getitem__"),
        separator_after_the_padding,
        example(
            test_corpus.test_pack_keeps_all_tokens_in_order,
            documents=[["the cat sat"]], length=9,
        ),
    ),
    mutation(
        "held-out files left out of the cache key",
        Place(token_cache, "_key"),
        held_out_files_left_out_of_the_key,
        example(test_token_cache.test_key_differs_for_the_same_bytes_in_other_files),
    ),
    mutation(
        "token files of another length accepted",
        Everywhere(read_numbers),
        any_length,
        example(
            test_token_cache.test_tokens_of_another_length_are_written_again,
            kind="ids", left=8,
        ),
    ),
    mutation(
        "noise drawn from special tokens",
        Everywhere(mask_tokens),
        special_noise,
        example(  # of 476 noise tokens, one of 6 is special: they are not missed
            test_masking.test_mask_tokens_chooses_the_exact_number_of_ordinary_tokens,
            seed=0, count=1000, length=64,
        ),
    ),
    mutation(
        "80/10/10 by two draws",
        Everywhere(mask_tokens),
        two_draws,
        test_masking.test_mask_tokens_replaces_80_10_10_per_cent_of_targets,
    ),
    mutation(
        "no second segment from another text",
        Everywhere(next_sentence_pairs),
        never_another_text,
        example(test_next_sentence.test_next_sentence_pairs_follow_in_half_of_the_cases),
    ),
    mutation(
        "swapped segments have the label 0",
        Everywhere(sentence_order_pairs),
        order_of_the_text_is_one,
        example(
            test_sentence_order.test_half_of_the_pairs_are_swapped_and_equal_generators_agree
        ),
    ),
    mutation(
        "segments are cut in the middle of a sentence",
        Everywhere(middle_of),
        in_the_middle,
        example(
            test_sentence_order.test_pairs_are_the_text_in_either_order,
            length=12,
            count=9,
            seed=3,
        ),
    ),
    mutation(
        "each window tagged like the first",
        Place(tagging, "word_windows"),
        first_words_again,
        example(test_finetune.test_tokenize_examples_labels_the_first_token_of_each_word),
    ),
    mutation(
        "absent classes in the macro F1",
        Place(ClassificationMetrics, "macro_f1"),
        property(mean_of_all_names),
        example(test_metrics.test_macro_f1_is_scikit_learns_for_names_without_label_and_prediction),
    ),
    mutation(
        "neighbouring entities joined",
        Everywhere(find_entities),
        neighbours_joined,
        test_metrics.test_find_entities_equals_a_search_word_by_word,
    ),
    mutation(
        "predicted numbers left in the model's unit",
        Place(RegressionTask, "denormalize_head"),
        never_denormalized,
        example(test_finetune.test_fine_tune_does_not_depend_on_the_unit_of_numbers),
    ),
    mutation(
        "padding in the mean over the tokens",
        Place(FeatureExtractor, "_pool"),
        mean_over_padding_too,
        example(test_features.test_a_model_with_a_block_of_the_caller_is_padded),
    ),
]  # fmt: skip
