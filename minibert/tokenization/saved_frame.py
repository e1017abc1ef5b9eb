"""The special tokens around texts, as the post-processor of tokenizer.json states them."""

from collections.abc import Mapping, Sequence
from typing import Any

from minibert.io.text import sanitize
from minibert.tokenization.framing import BARE, BERT, ROBERTA, Template


def read_frame(whole: Mapping[str, Any]) -> tuple[Template, dict[str, Any]]:
    """Return the template of a tokenizer.json, and options that its post-processor states.

    >>> ends = {"cls": ["<s>", 0], "sep": ["</s>", 2], "trim_offsets": True}
    >>> template, options = read_frame({"post_processor": {"type": "RobertaProcessing", **ends}})
    >>> template.between, options
    (('sep_token', 'sep_token'), {'cls_token': '<s>', 'sep_token': '</s>', 'trim_offsets': True})

    Returns:
        the template; and `cls_token` and `sep_token` if it uses them, `trim_offsets` and
        `add_prefix_space` if they are stated.

    Raises:
        ValueError: the post-processor is of another type, or its template has another form.
    """
    processor = whole.get("post_processor") or {}
    kind = processor.get("type", "none")
    if kind == "Sequence":
        first, *others = processor["processors"]
        if first.get("type") == "ByteLevel" and len(others) == 1:
            template, options = read_frame({"post_processor": others[0]})
            return template, _flags(first) | options
    elif kind == "ByteLevel":
        return BARE, _flags(processor)
    elif kind in ("BertProcessing", "RobertaProcessing"):
        ends = {"cls_token": processor["cls"][0], "sep_token": processor["sep"][0]}
        return (BERT if kind == "BertProcessing" else ROBERTA), ends | _flags(processor)
    elif kind == "TemplateProcessing":
        found = _parse(processor["single"], processor["pair"])
        if found is not None:
            return found
    raise ValueError(
        f"post_processor: expected BertProcessing, RobertaProcessing, or [CLS] A [SEP] B [SEP] as "
        f"a TemplateProcessing, got {sanitize(kind)}"
    )


def write_frame(template: Template, tokenizer: Any) -> dict[str, Any]:
    """Return the post-processor (TemplateProcessing) of a template.

    Args:
        template: the special tokens around texts.
        tokenizer: its special tokens.
    """

    def specials(names: Sequence[str], kind: int) -> list[dict[str, Any]]:
        return [
            {"SpecialToken": {"id": getattr(tokenizer, name), "type_id": kind}} for name in names
        ]

    first, second = {"Sequence": {"id": "A", "type_id": 0}}, template.pair_type
    tokens = {
        getattr(tokenizer, name): getattr(tokenizer, f"{name}_id")
        for name in (*template.before, *template.between, *template.after)
    }
    return {
        "type": "TemplateProcessing",
        "single": [*specials(template.before, 0), first, *specials(template.after, 0)],
        "pair": [
            *specials(template.before, 0),
            first,
            *specials(template.between, 0),
            {"Sequence": {"id": "B", "type_id": second}},
            *specials(template.after, second),
        ],
        "special_tokens": {
            token: {"id": token, "ids": [i], "tokens": [token]} for token, i in tokens.items()
        },
    }


def _flags(processor: Mapping[str, Any]) -> dict[str, Any]:
    names = ("trim_offsets", "add_prefix_space")
    return {name: processor[name] for name in names if name in processor}


def _parse(single: list[Any], pair: list[Any]) -> tuple[Template, dict[str, Any]] | None:
    """Return the template of two lists of items, and its tokens; None for another form."""
    one, two = _items(single), _items(pair)
    if ("Sequence", "A", 0) not in one or ("Sequence", "A", 0) not in two:
        return None
    start = one.index(("Sequence", "A", 0))
    before, after = one[:start], one[start + 1 :]
    places = [i for i, item in enumerate(two) if item[:2] == ("Sequence", "B")]
    if len(places) != 1 or two[: start + 1] != one[: start + 1]:
        return None
    between, kind = two[start + 1 : places[0]], two[places[0]][2]
    expected = [("SpecialToken", token, kind) for _, token, _ in after]
    ends = {"cls_token": {token for _, token, _ in before}, "sep_token": {t for _, t, _ in after}}
    if (
        two[places[0] + 1 :] != expected
        or any(item[0] != "SpecialToken" or item[2] for item in (*before, *between, *after))
        or any(len(tokens) > 1 for tokens in ends.values())
        or {token for _, token, _ in between} - ends["sep_token"]
    ):
        return None
    template = Template(
        ("cls_token",) * len(before),
        ("sep_token",) * len(between),
        ("sep_token",) * len(after),
        kind,
    )
    return template, {name: tokens.pop() for name, tokens in ends.items() if tokens}


def _items(template: list[Any]) -> list[tuple[str, str, int]]:
    return [
        (kind, value["id"], value["type_id"]) for item in template for kind, value in item.items()
    ]
