"""The figure of chapter 15, attention on a real sentence, and the chapter's stored results."""

from typing import Any

import numpy as np

from docs.make.data import load
from docs.make.svg import Drawing

SENTENCE = "The dog didn't cross the street because it was too tired."
SHOWN = ("previous token", "[CLS]")  # the heads of the figure
BANKS = (  # the first two are about rivers, the others about money
    "She sat down on the bank of the river.",
    "Reeds grew along the muddy bank.",
    "He paid the money into the bank.",
    "The bank raised its interest rates.",
)
WORDS = ("monday", "red", "doctor", "##ing")
TRAINING = 300  # sentences for the classifier whose gradients are stored
EXPLAINED = "Everyone's already singing, and the cake isn't out of the oven yet."
DIGITS = 3
CELL = 17  # pixels of an attention weight


def inside_record() -> dict[str, Any]:
    """Look into MiniLM: attention, hidden states, neighbours, probes, gradients (dict)."""
    from minibert import BertModel, WordPieceTokenizer

    model, tokenizer = (kind.from_pretrained("minilm") for kind in (BertModel, WordPieceTokenizer))
    return {
        "attention": attention_results(model, tokenizer),
        "bank": bank_cosines(model, tokenizer),
        "neighbours": neighbours(model, tokenizer),
        "probe": probe(),
        "tokens": token_results(),
    }


def attention_results(model: Any, tokenizer: Any) -> dict[str, Any]:
    """Return the heads with the most regular patterns, and their weights on a sentence (dict)."""
    from minibert.inspection import inspect_text

    found = []  # (L, K, T, T) of each sentence
    for text in sentences("dev").texts:
        out = model([tokenizer.encode(text).input_ids], output_attentions=True)
        found.append(np.concatenate(out.attentions))
    lengths = [each.shape[-1] for each in found]
    patterns = {
        "itself": [np.eye(length) for length in lengths],
        "previous token": [np.eye(length, k=-1) for length in lengths],
        "next token": [np.eye(length, k=1) for length in lengths],
        "[CLS]": [column(length, 0) for length in lengths],
        "[SEP]": [column(length, -1) for length in lengths],
    }
    shown = inspect_text(model, tokenizer, SENTENCE)
    heads = {}
    for name, targets in patterns.items():
        # (L, K): the mean weight of this pattern, over all tokens between [CLS] and [SEP]
        shares = np.mean(
            [
                (each * target).sum(axis=-1)[..., 1:-1].mean(axis=-1)
                for each, target in zip(found, targets, strict=True)
            ],
            axis=0,
        )
        block, head = np.unravel_index(shares.argmax(), shares.shape)
        heads[name] = {
            "block": int(block) + 1,
            "head": int(head) + 1,
            "weight": rounded(shares.max()),
            "mean of all heads": rounded(shares.mean()),
        }
        if name in SHOWN:
            heads[name]["weights"] = rounded(shown.attentions[block, head])
    block, head = heads["[CLS]"]["block"], heads["[CLS]"]["head"]
    values = next(
        each.value[head - 1]
        for each in shown.activations
        if each.part == f"block {block}" and each.name.startswith("value")
    )  # (T, H)
    weights = shown.attentions[block - 1, head - 1][1:-1]  # (T - 2, T)
    parts = weights * np.linalg.norm(values, axis=-1)
    return {
        "tokens": shown.tokens,
        "heads": heads,
        "[CLS] in the sentence": {
            "share of the weights": rounded(weights[:, 0].mean()),
            "share of the added lengths": rounded((parts[:, 0] / parts.sum(axis=-1)).mean()),
        },
    }


def column(length: int, index: int) -> np.ndarray:
    """Return a matrix of zeros with ones in one column (T, T)."""
    matrix = np.zeros((length, length))
    matrix[:, index] = 1
    return matrix


def bank_cosines(model: Any, tokenizer: Any) -> dict[str, Any]:
    """Return the cosines of one word's hidden states in four sentences, by layer (dict)."""
    states = []
    for text in BANKS:
        encoding = tokenizer.encode(text)
        out = model([encoding.input_ids], output_hidden_states=True)
        place = encoding.tokens.index("bank")
        states.append(np.stack([state[0, place] for state in out.hidden_states]))  # (L + 1, D)
    units = np.stack(states, axis=1)  # (L + 1, 4, D)
    units /= np.linalg.norm(units, axis=-1, keepdims=True)
    cosines = units @ units.swapaxes(1, 2)  # (L + 1, 4, 4)
    same = (cosines[:, 0, 1] + cosines[:, 2, 3]) / 2
    other = cosines[:, :2, 2:].mean(axis=(1, 2))
    return {"same meaning": rounded(same), "other meaning": rounded(other)}


def neighbours(model: Any, tokenizer: Any) -> dict[str, list[str]]:
    """Return the nearest token embeddings of some tokens, by cosine (dict)."""
    table = model.params["embeddings.word_embeddings.weight"].astype(np.float64)
    table /= np.maximum(np.linalg.norm(table, axis=-1, keepdims=True), 1e-12)
    found = {}
    for word in WORDS:
        cosines = table @ table[tokenizer.vocab[word]]  # (V, D) @ (D,) -> (V,)
        nearest = np.argsort(-cosines)[1:5].tolist()  # without the token itself
        names = tokenizer.convert_ids_to_tokens(nearest)
        found[word] = [f"{name} {cosines[i]:.2f}" for name, i in zip(names, nearest, strict=True)]
    return found


def probe() -> dict[str, Any]:
    """Return how well a linear map finds the class in the hidden states of each layer (dict)."""
    from sklearn.linear_model import LogisticRegression

    from minibert import FeatureExtractor

    train, dev = sentences("train"), sentences("dev")
    shuffled = np.random.default_rng(0).permutation(train.labels)
    found: dict[str, Any] = {"class": [], "shuffled labels": []}
    for layer in range(7):
        extract = FeatureExtractor.from_pretrained("minilm", layers=layer, normalize=False)
        vectors, held_out = extract(train.texts), extract(dev.texts)
        # A layer norm's weight may be 0, and the feature then constant.
        mean, std = vectors.mean(axis=0), np.maximum(vectors.std(axis=0), 1e-6)
        for name, labels in (("class", train.labels), ("shuffled labels", shuffled)):
            model = LogisticRegression(C=0.01, max_iter=2000).fit((vectors - mean) / std, labels)
            found[name].append(rounded(model.score((held_out - mean) / std, dev.labels)))
    return found


def token_results() -> dict[str, Any]:
    """Return each token's gradient x input, and the loss of probability without it (dict)."""
    from minibert.inspection import inspect_text
    from minibert.tasks import SingleLabelTask
    from minibert.training.finetuning import FineTuningRun, ModelSource

    examples = sentences("train").select(range(TRAINING))
    task = SingleLabelTask.from_labels(examples.labels)
    run = FineTuningRun.start(task, examples, ModelSource("minilm"))
    run.train()
    model, tokenizer = run.model, run.tokenizer
    inspection = inspect_text(model, tokenizer, EXPLAINED, backward=True)
    (_, answers), *_ = inspection.predictions
    label = task.names.index(answers[0][0])
    ids = np.repeat([inspection.ids], len(inspection.ids), axis=0)  # (T, T)
    np.fill_diagonal(ids, tokenizer.mask_token_id)
    logits = np.concatenate([np.array([inspection.activations[-1].value]), model(ids).logits])
    return {
        "tokens": inspection.tokens,
        "label": answers[0][0],
        "probability": rounded(answers[0][1]),
        "gradient x input": rounded(inspection.saliency),
        "logit without it": rounded(logits[0, label] - logits[1:, label]),
    }


def sentences(split: str) -> Any:
    """Return one split of the hand-written sentences (Examples)."""
    from docs.make.figures.fine_tuning import CORPUS
    from minibert.data.tables import read_records
    from minibert.tasks import Examples

    rows = read_records(CORPUS / f"{split}.tsv", labelled=True)
    return Examples([row.text for row in rows], None, [row.label for row in rows])


def rounded(values: Any) -> Any:
    """Return a number or an array as JSON stores it, with few digits."""
    return np.round(np.asarray(values, np.float64), DIGITS).tolist()


def attention_sentence() -> str:
    """Return the attention weights of two heads of MiniLM on one sentence (SVG)."""
    data = load("inside")["attention"]
    tokens = data["tokens"]
    size = CELL * len(tokens)
    drawing = Drawing(
        2 * size + 156, size + 120, "Attention on a real sentence: two heads of MiniLM"
    )
    numbers = [str(i) for i in range(len(tokens))]
    named = [f"{token} {i}" for i, token in enumerate(tokens)]
    for name, left, rows in zip(SHOWN, (92.0, size + 136.0), (named, numbers), strict=True):
        head = data["heads"][name]
        drawing.text(left, 50, f"block {head['block']}, head {head['head']}: {name}", "strong")
        drawing.grid(left, 82, head["weights"], rows, numbers, (CELL, CELL), form="", largest=1.0)
    drawing.text(
        16, size + 106,
        "Row: the token that reads. Column: the token that is read. A row adds up to 1.", "small",
    )  # fmt: skip
    return drawing.svg()


FIGURES = {"attention_sentence": attention_sentence}
RECORDS = {"inside": inside_record}
