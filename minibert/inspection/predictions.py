"""A model's predictions for one text, and the score whose gradient is computed."""

from typing import Any

import numpy as np

from minibert.inference.tokens import probable_tokens
from minibert.models import BertForMaskedLM, BertModel, PreTrained
from minibert.models.table import MODELS, model_class
from minibert.tasks import task_for
from minibert.tasks.registry import labelling_models
from minibert.tokenization import PreTrainedTokenizer

TOP = 5  # predictions for a [MASK]

Predictions = list[tuple[str, list[tuple[str, float]]]]


def inspectable_models() -> dict[str, type[PreTrained]]:
    """Return the classes that `inspect_text` accepts, by name."""
    bodies = {
        name: kind
        for name, kind in ((name, model_class(name)) for name in MODELS)
        if issubclass(kind, BertModel | BertForMaskedLM)
    }
    return {**bodies, **labelling_models()}


def predictions_of(
    model: Any, tokenizer: PreTrainedTokenizer, tokens: list[str], logits: np.ndarray
) -> Predictions:
    """Return the predictions for one text: (place, [(name, probability), ...]) pairs.

    Args:
        model: a masked language model, or a model with a task.
        tokenizer: names the tokens.
        tokens: the T tokens of the text.
        logits (T, V), or as the task's model returns them for one text.
    """
    if not model.predicts_tokens:
        return task_for(model).describe_logits(tokens, logits.copy())
    return [
        (f"token {place}", probable_tokens(tokenizer, logits[place], TOP))
        for place in mask_positions(tokenizer, tokens)
    ]


def select_score(
    model: Any,
    tokenizer: PreTrainedTokenizer,
    tokens: list[str],
    logits: np.ndarray,
    label: str | None,
) -> tuple[str, np.ndarray]:
    """Return the name of a score and its gradient with respect to one text's logits.

    Args:
        model, tokenizer, tokens, logits: as in `predictions_of`.
        label: a class or a token; None: the most probable one.

    Raises:
        ValueError: the text contains no [MASK], or there is no such class or token.
    """
    if not model.predicts_tokens:
        return task_for(model).select_score(logits, label)
    masks = mask_positions(tokenizer, tokens)
    if not masks:
        raise ValueError(
            f"expected a {tokenizer.mask_token} in the text, whose score is differentiated"
        )
    place = masks[0]
    named = logits[place, : len(tokenizer)]
    chosen = int(named.argmax()) if label is None else tokenizer.vocab.get(label)
    if chosen is None or chosen >= len(named):
        raise ValueError(f"label: expected a single token of the vocabulary, got {label!r}")
    gradient = np.zeros_like(logits)
    gradient[place, chosen] = 1
    (name,) = tokenizer.convert_ids_to_tokens([chosen])
    return f"{name!r} at token {place}", gradient


def mask_positions(tokenizer: PreTrainedTokenizer, tokens: list[str]) -> list[int]:
    """Return the positions of [MASK]."""
    return [i for i, token in enumerate(tokens) if token == tokenizer.mask_token]
