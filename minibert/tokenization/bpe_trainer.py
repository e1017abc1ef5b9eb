"""Learn the merges of a byte-level BPE vocabulary: merge the most frequent pair repeatedly."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from minibert.tokenization.byte_alphabet import ALPHABET, spell
from minibert.tokenization.byte_chunks import chunks
from minibert.tokenization.byte_pairs import Merge
from minibert.tokenization.trainer import LONGEST_CHUNK, merge_steps, progress_bar


def learn_merges(
    texts: Iterable[str],
    vocab_size: int,
    *,
    special_tokens: Sequence[str],
    min_frequency: int = 2,
    add_prefix_space: bool = False,
    exact: bool = True,
    progress: bool = False,
) -> tuple[list[str], list[Merge]]:
    """Return the pieces (list of str) and the merges of a vocabulary learned from texts.

    Each chunk of the texts is split into its bytes, and the most frequent pair of neighbouring
    pieces is merged in all chunks, until there are `vocab_size` pieces: Sennrich et al. (2016),
    algorithm 1, over bytes as in Radford et al. (2019), section 2.2. Of equally frequent pairs, the
    pair with the older first piece is merged, then the pair with the older second piece; bytes are
    the oldest, in the order of their characters. The order of the texts does not matter. A chunk of
    more than `LONGEST_CHUNK` characters, such as a file of letters without a space, is left out.

    >>> pieces, merges = learn_merges(["low low lower newer"], 260, special_tokens=["<s>"])
    >>> merges, pieces[-3:]
    ([('l', 'o'), ('lo', 'w'), ('e', 'r')], ['lo', 'low', 'er'])

    Args:
        texts: the texts; iterated once.
        vocab_size (int): V, the number of pieces, special tokens and bytes included.
        special_tokens: the first pieces.
        min_frequency (int): minimum count of a pair to merge.
        add_prefix_space (bool): put a space before a text unless it begins with one.
        exact (bool): raise an error if the texts yield fewer than `vocab_size` pieces.
        progress (bool): show progress bars on stderr.

    Returns:
        special tokens, the characters of the bytes, and merged pieces in the order of merging; and
        the pairs that were merged.

    Raises:
        TypeError: `texts` is a string or contains something else than strings.
        ValueError: the texts yield fewer pieces than `vocab_size`, or it is below the number of
            special tokens and bytes.
    """
    if isinstance(texts, str):
        raise TypeError("texts: expected several, got one string; put it in a list")
    pieces = dict.fromkeys([*special_tokens, *ALPHABET])
    if vocab_size < len(pieces):
        raise ValueError(
            f"vocab_size: expected at least {len(pieces)}, the special tokens and the bytes, got "
            f"{vocab_size}"
        )
    texts = progress_bar(texts, progress, desc="counting words", unit=" texts")
    counts = Counter(chain.from_iterable(_chunks_of(texts, add_prefix_space)))
    spelled = {spell(chunk): count for chunk, count in counts.items()}
    merges: list[Merge] = []
    steps = merge_steps(spelled, min_frequency=min_frequency, prefix="", letters=ALPHABET)
    bar = progress_bar(range(vocab_size - len(pieces)), progress, desc="merging pairs")
    for _ in bar:
        for first, second in steps:
            merges.append((first, second))
            if first + second not in pieces:  # different pairs may merge to the same piece
                pieces[first + second] = None
                break
        else:
            if not exact:
                break
            raise ValueError(
                f"vocab_size: expected at most {len(pieces)}, all that these texts give with "
                f"min_frequency {min_frequency}, got {vocab_size}; add text or reduce vocab_size"
            )
    return list(pieces), merges


def _chunks_of(texts: Iterable[str], add_prefix_space: bool) -> Iterator[list[str]]:
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{index}]: expected a string, got {type(text).__name__}")
        is_prefixed = add_prefix_space and text and text[0] != " "
        found = chunks(f" {text}" if is_prefixed else text)
        is_long = len(text) > LONGEST_CHUNK
        yield [each for each in found if len(each) <= LONGEST_CHUNK] if is_long else found
