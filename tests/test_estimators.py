"""Estimators: fit and predict, and scikit-learn's own checks (extra: parity)."""

import copy
import pickle
import sys
import warnings
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from minibert import TextClassifier, TextRegressor, TokenTagger
from tests.io.test_rows import SEVERAL, tables

TEXTS = ["a red fox", "the red hen", "a blue sky", "the blue sea"] * 4
COLOURS = np.array(["red", "red", "blue", "blue"] * 4)
FAST = {"epochs": 30, "learning_rate": 2e-3, "batch_size": 8}


@pytest.fixture(scope="module")
def fitted():
    return TextClassifier(**FAST).fit(TEXTS, COLOURS)


def test_text_classifier_learns_strings_and_integers(fitted):
    assert fitted.classes_.tolist() == ["blue", "red"]
    assert fitted.predict(["the red fox", "a blue sea"]).tolist() == ["red", "blue"]  # new texts
    probabilities = fitted.predict_proba(TEXTS)
    assert probabilities.shape == (16, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert fitted.score(TEXTS, COLOURS) == 1
    numbers = TextClassifier(**FAST).fit(TEXTS, np.where(COLOURS == "red", 7, -3))
    assert numbers.predict(["the red fox"]).tolist() == [7]
    np.testing.assert_array_equal(numbers.predict_proba(TEXTS), probabilities)


@pytest.mark.slow
def test_text_classifier_learns_multi_label_indicators():
    y = np.array([[1, 0, 1], [1, 0, 0], [0, 1, 1], [0, 1, 0]] * 4)  # red, blue, the "a"
    classifier = TextClassifier(**{**FAST, "epochs": 50}).fit(TEXTS, y)
    assert (classifier.predict(TEXTS) == y).all()
    assert classifier.predict_proba(TEXTS).shape == (16, 3)
    assert classifier.score(TEXTS, y) == 1


@pytest.mark.slow
def test_text_classifier_reads_both_texts_of_a_pair():
    """The label depends on the first text, then on the second."""
    pairs = [(a, b) for a in TEXTS[:4] for b in TEXTS[:4]] * 2
    for side in (0, 1):
        y = [pair[side].split()[1] for pair in pairs]
        classifier = TextClassifier(**{**FAST, "epochs": 25}).fit(pairs, y)
        assert classifier.score(pairs, y) > 0.9


@pytest.mark.slow
def test_text_regressor_predicts_in_the_unit_of_the_labels():
    y = np.where(COLOURS == "red", 1200.0, 800.0)
    regressor = TextRegressor(**{**FAST, "epochs": 120}).fit(TEXTS, y)
    np.testing.assert_allclose(regressor.predict(["a red hen", "the blue sky"]), [1200, 800], 0.1)
    assert regressor.score(TEXTS, y) > 0.9


def test_token_tagger_predicts_a_tag_for_each_word():
    words = [text.split() for text in TEXTS]
    tags = [["O", f"B-{colour}", "O"] for colour in COLOURS]
    tagger = TokenTagger(**FAST).fit(words, tags)
    assert tagger.predict([["the", "red", "sea", "a"], []]) == [["O", "B-red", "O", "O"], []]
    assert tagger.score(words, tags) == 1
    assert [len(each) for each in tagger.predict_proba(words)] == [3] * 16


@pytest.mark.slow
def test_fit_is_bitwise_reproducible_with_any_number_of_threads(fitted):
    again = TextClassifier(**FAST, threads=1).fit(TEXTS, COLOURS)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS))
    other = TextClassifier(**FAST, random_state=1).fit(TEXTS, COLOURS)
    assert (other.predict_proba(TEXTS) != fitted.predict_proba(TEXTS)).any()


def test_a_fitted_estimator_is_copied_pickled_and_saved(fitted, tmp_path):
    expected = fitted.predict_proba(TEXTS)
    for twin in (copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(twin.predict_proba(TEXTS), expected)
        twin.model_.params.vector[:] = 0  # the named arrays are still views of the vector
        assert not twin.model_.params["classifier.weight"].any()
    np.testing.assert_array_equal(fitted.predict_proba(TEXTS), expected)
    fitted.model_.save_pretrained(tmp_path)
    fitted.tokenizer_.save_pretrained(tmp_path)
    further = TextClassifier(tmp_path, **{**FAST, "epochs": 1}).fit(TEXTS, COLOURS)
    assert further.score(TEXTS, COLOURS) == 1


@pytest.mark.slow
def test_early_stopping_keeps_a_good_model(fitted):
    classifier = TextClassifier(early_stopping=True, **{**FAST, "epochs": 60}).fit(TEXTS, COLOURS)
    assert classifier.score(TEXTS, COLOURS) > 0.8


def test_class_weight_raises_the_probability_of_a_rare_class():
    """One of ten equal texts has another class: its probability is 1/10, or 1/2 with weights."""
    texts, y = ["a fox"] * 10, ["fox"] * 9 + ["hen"]
    probabilities = []
    for weight in (None, "balanced", {"hen": 9}):
        classifier = TextClassifier(class_weight=weight, epochs=40, batch_size=10,
                                    learning_rate=2e-3).fit(texts, y)  # fmt: skip
        probabilities.append(classifier.predict_proba(texts[:1])[0, 1])
    assert probabilities[:2] == pytest.approx([0.1, 0.5], abs=0.05)
    assert probabilities[1] == pytest.approx(probabilities[2], rel=1e-3)  # 10/18 : 10/2 = 1 : 9
    with pytest.raises(ValueError, match="class_weight: there is no class 'cow' in y"):
        TextClassifier(class_weight={"cow": 2}).fit(texts, y)


def test_get_params_and_set_params_keep_the_arguments_unchanged():
    odd = object()
    classifier = TextClassifier(odd, epochs="many")
    assert classifier.model is odd
    params = classifier.get_params()
    assert params["epochs"] == "many"
    assert {"model", "size", "freeze", "class_weight", "random_state"} <= params.keys()
    assert classifier.set_params(epochs=3) is classifier
    assert repr(TextClassifier(epochs=3)) == "TextClassifier(epochs=3)"
    with pytest.raises(ValueError, match="epoch: no such parameter of TextClassifier, expected"):
        classifier.set_params(epoch=3)


@pytest.mark.parametrize(
    ("estimator", "X", "y", "message"),
    [
        (TextClassifier(), "a text", ["x"], "X: expected a list of texts, got 'a text'"),
        (TextClassifier(), [], [], "X: expected at least one text"),
        (TextClassifier(), ["a", 5], [0, 1], r"X\[1\]: expected a string, or a pair of"),
        (TextClassifier(), ["a", " "], [0, 1], r"X\[1\]: the text is empty"),
        (TextClassifier(), ["a", ("b", "c")], [0, 1], "X: expected pairs of strings everywhere"),
        (TextClassifier(), ["a", "b"], [0], "y: expected 2 labels, one for each text, got 1"),
        (TextClassifier(), ["a", "b"], [0, 0], "y: expected two classes or more, got 1 class"),
        (TextClassifier(), ["a", "b"], [0.5, 1], "continuous; see TextRegressor"),
        (TextClassifier(), ["a", "b"], [[0, 2], [1, 0]], "y: expected 0 and 1 alone"),
        (TextClassifier(), ["a", "b"], None, "target y is None"),
        (TextClassifier(epochs=0), ["a", "b"], [0, 1], "epochs: expected at least 1, got 0"),
        (TextClassifier(freeze=5), ["a", "b"], [0, 1], "freeze: expected 0 to 1 layers, got 5"),
        (TextClassifier("/nowhere"), ["a", "b"], [0, 1], "/nowhere"),
        (TextRegressor(), ["a", "b"], [1, float("nan")], "y: expected one number"),
        (TextRegressor(), ["a", "b"], [1, 1e300], "y: expected one number"),
        (TextRegressor(), ["a", "b"], [1, 1], "^labels: expected different numbers"),
        (TokenTagger(), [["a"], "b"], [["O"], ["O"]], r"X\[1\]: expected a list of words"),
        (TokenTagger(), [["a", "b"]], [["O"]], r"y\[0\]: expected 2 tags, one a word, got 1"),
        (TokenTagger(), [["a", ""]], [["O", "X"]], r"X\[0\]: expected words that aren't empty"),
    ],
)
def test_fit_names_the_invalid_input(estimator, X, y, message):
    with pytest.raises((TypeError, ValueError, FileNotFoundError), match=message):
        estimator.fit(X, y)


class NotAvailable:
    """A missing label like pandas' NA: its comparisons are neither true nor false."""

    def __ne__(self, other):
        return self

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")

    __hash__ = None


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["x", None], r"^y\[1\]: expected a label, got None$"),
        (["x", float("nan")], r"^y\[1\]: expected a label, got nan$"),
        (["x", NotAvailable()], r"^y\[1\]: expected a label, got <"),
        (np.array([None, 1]), r"^y\[0\]: expected a label, got None$"),
        (np.array([[0, 1], [1, None]]), r"^y\[1\]: expected a label, got None$"),
        (np.ma.array([0, 1], mask=[False, True]), r"^y\[1\]: expected a label, got a masked one$"),
        (SimpleNamespace(toarray=None), r"got a sparse matrix; pass y.toarray\(\)$"),
        ("xy", "^y: expected a list .*, got 'xy'$"),
        ({0, 1}, "^y: expected a list .*, got {0, 1}$"),
    ],
)
@pytest.mark.parametrize("estimator_class", [TextClassifier, TextRegressor])
def test_fit_and_score_name_the_invalid_label(fitted, estimator_class, y, message):
    with pytest.raises((TypeError, ValueError), match=message):
        estimator_class().fit(["a", "b"], y)
    if estimator_class is TextClassifier:
        with pytest.raises((TypeError, ValueError), match=message):
            fitted.score(["a", "b"], y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([["x", "y"], ["z"]], "got lists of labels; scikit-learn's MultiLabelBinarizer"),
        ([["x", "y"], ["z", "x"]], "got lists of labels"),
        ([[0, 1], [1]], "got lists of labels"),
        ([{"x"}, {"y"}], "got lists of labels"),
        (["x", ["y"]], "got lists of labels"),
        (["x", 1], "^y: expected labels of one type, got str and int$"),
        ([1, "1"], "^y: expected labels of one type, got str and int$"),
    ],
)
def test_text_classifier_refuses_lists_of_labels_and_mixed_types(y, message):
    with pytest.raises(ValueError, match=message):
        TextClassifier().fit(["a", "b"], y)


def test_score_reads_columns_of_labels_as_fit_does(fitted):
    wrong = np.where(COLOURS == "red", "blue", COLOURS)
    assert fitted.score(TEXTS, COLOURS[:, None]) == 1
    assert fitted.score(TEXTS, wrong[:, None]) == fitted.score(TEXTS, wrong) == 0.5
    for y in (COLOURS[:1], COLOURS[:3]):
        with pytest.raises(ValueError, match="y: expected 16 labels, one for each text"):
            fitted.score(TEXTS, y)
    with pytest.raises(ValueError, match=r"y: expected the shape \(16,\), got \(16, 2\)"):
        fitted.score(TEXTS, np.ones((16, 2)))


def test_random_state_of_the_fit_is_stored(fitted):
    """None and generators draw a seed, which gives the same model again."""
    texts, y, options = TEXTS[:4], COLOURS[:4], {"epochs": 1}
    assert fitted.random_state_ == 0
    drawn = [TextClassifier(random_state=None, **options).fit(texts, y) for _ in range(2)]
    assert drawn[0].random_state_ != drawn[1].random_state_
    assert drawn[0].random_state is None
    again = TextClassifier(random_state=drawn[0].random_state_, **options).fit(texts, y)
    np.testing.assert_array_equal(again.predict_proba(texts), drawn[0].predict_proba(texts))
    seeds = [
        TextClassifier(random_state=make(5), **options).fit(texts, y).random_state_
        for make in (np.random.RandomState, np.random.RandomState, np.random.default_rng)
    ]
    assert seeds[0] == seeds[1] != seeds[2]
    for bad, message in ((-1, "expected 0 or more, got -1"), ("x", "expected a seed, a generator")):
        with pytest.raises((TypeError, ValueError), match=f"random_state: {message}"):
            TextRegressor(random_state=bad).fit(texts, [0, 1, 2, 3])


def test_predict_before_fit_raises():
    with pytest.raises(ValueError, match="this TextClassifier is not fitted yet: call fit first"):
        TextClassifier().predict(["a"])


# Tables. Their forms are those of tests/io/test_rows.py.


@pytest.fixture(scope="module")
def fitted_tagger():
    return TokenTagger(epochs=1).fit([text.split() for text in TEXTS], [["O", "A", "O"]] * 16)


@pytest.fixture(scope="module")
def fitted_regressor():
    return TextRegressor(epochs=1).fit(TEXTS, np.arange(16.0))


@pytest.mark.parametrize("form", tables(TEXTS))
def test_predictions_for_a_table_with_one_column_are_those_for_its_cells(
    form, fitted, fitted_regressor
):
    table = tables(TEXTS)[form]
    np.testing.assert_array_equal(fitted.predict_proba(table), fitted.predict_proba(TEXTS))
    np.testing.assert_array_equal(fitted_regressor.predict(table), fitted_regressor.predict(TEXTS))
    assert fitted.score(table, tables(COLOURS)[form]) == fitted.score(TEXTS, COLOURS) == 1
    y = np.arange(16.0)
    assert fitted_regressor.score(table, tables(y)[form]) == fitted_regressor.score(TEXTS, y)


@pytest.mark.parametrize("form", tables(TEXTS))
def test_a_tagger_reads_the_cells_of_a_table_with_one_column(form, fitted_tagger):
    words, tags = [text.split() for text in TEXTS], [["O", "A", "O"]] * 16
    assert fitted_tagger.predict(tables(words)[form]) == fitted_tagger.predict(words)
    expected = fitted_tagger.score(words, tags)
    assert fitted_tagger.score(tables(words)[form], tables(tags)[form]) == expected


@pytest.mark.parametrize("form", tables(TEXTS))
@pytest.mark.parametrize(
    ("estimator", "X", "y"),
    [
        (TextClassifier(), TEXTS, COLOURS.tolist()),
        (TextClassifier(), TEXTS, [7, 3] * 8),
        (TextRegressor(), TEXTS, np.arange(16.0).tolist()),
        (TokenTagger(), [text.split() for text in TEXTS], [["O", "A", "O"]] * 16),
    ],
)
def test_fit_reads_the_cells_of_a_table_with_one_column(form, estimator, X, y, monkeypatch):
    def examples(X, y):
        found = []
        monkeypatch.setattr(
            type(estimator), "_fit", lambda self, _, chosen, *more: found.append(chosen)
        )
        estimator.fit(X, y)
        return found

    assert examples(tables(X)[form], tables(y)[form]) == examples(X, y)


@pytest.mark.parametrize("form", SEVERAL)
@pytest.mark.parametrize("name", ["fitted", "fitted_regressor", "fitted_tagger"])
def test_every_method_refuses_tables_without_a_single_column(name, form, request):
    estimator, table = request.getfixturevalue(name), SEVERAL[form]
    new = type(estimator)()
    texts = [["a"], ["b"], ["c"]] if name == "fitted_tagger" else ["a", "b", "c"]
    calls = [estimator.predict, partial(estimator.score, y=[0, 1, 2]), partial(new.fit, y=[0] * 3)]
    if name != "fitted_regressor":
        calls.append(estimator.predict_proba)
    for call in calls:
        with pytest.raises(TypeError, match=r"^X(\[\d\])?: expected "):
            call(table)
    for call in (estimator.score, new.fit):
        with pytest.raises((TypeError, ValueError), match=r"^y(\[\d\])?: expected"):
            call(texts, table)


@pytest.mark.parametrize("row", [{"a": "x", "b": "y"}, {"x", "y"}, b"x", None, 5, [], ["x"] * 3])
def test_a_row_that_is_neither_a_text_nor_a_pair_is_refused(row, fitted):
    with pytest.raises(TypeError, match=r"X\[1\]: expected a string, or a pair of strings"):
        fitted.predict(["a", row])


def test_score_counts_unseen_labels_as_errors_and_names_them(fitted, fitted_tagger, caplog):
    assert fitted.score(TEXTS, ["red", "red", "green", "blue"] * 4) == 0.75
    assert "y: training did not see these labels, which count as errors: 'green' (4)" in caplog.text
    caplog.clear()
    fitted_tagger.score([["a", "red", "fox"]], [["O", "B-X", "O"]])
    assert "'B-X' (1)" in caplog.text


def test_score_never_broadcasts_labels(fitted, fitted_regressor):
    for y in (["red"], COLOURS[:5], [["red", "blue"]] * 16):
        with pytest.raises(ValueError, match="y: expected"):
            fitted.score(TEXTS, y)
    for numbers in ([1.0], [np.nan] * 16):
        with pytest.raises(ValueError, match="y: expected"):
            fitted_regressor.score(TEXTS, numbers)


# With scikit-learn.


@pytest.mark.parity
def test_estimators_work_with_pipeline_cross_validation_and_grid_search():
    from sklearn.base import clone, is_classifier, is_regressor
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    assert is_classifier(TextClassifier())
    assert is_regressor(TextRegressor())
    assert clone(TextClassifier(epochs=3)).epochs == 3
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    pipeline = make_pipeline(lower, TextClassifier(**FAST)).fit(np.array(TEXTS), COLOURS)
    assert pipeline.predict(["THE RED SKY"]) == ["red"]
    assert cross_val_score(TextClassifier(**FAST), TEXTS, COLOURS, cv=2).mean() > 0.9
    # Of 3 tokens one is a word, the article.
    search = GridSearchCV(TextClassifier(**FAST), {"max_length": [3, 12]}, cv=2).fit(TEXTS, COLOURS)
    assert search.best_params_ == {"max_length": 12}
    words, tags = [text.split() for text in TEXTS], [["O", c, "O"] for c in COLOURS]
    assert cross_val_score(TokenTagger(**FAST), words, tags, cv=2).mean() > 0.9


# scikit-learn's own checks pass arrays of numbers. With each number spelled as a word, most of them
# run; these do not.
NUMBERS = "is about dtypes and NaN in X, which texts do not have"
WIDTH = "is about the columns of X, which texts do not have"
NOT_FOR_TEXTS = {
    "check_complex_data": NUMBERS,
    "check_dtype_object": NUMBERS,
    "check_estimators_nan_inf": NUMBERS,
    "check_estimator_sparse_tag": "is about sparse matrices",
    "check_estimator_sparse_array": "is about sparse matrices",
    "check_estimator_sparse_matrix": "is about sparse matrices",
    "check_estimators_empty_data_messages": WIDTH,
    "check_n_features_in": WIDTH,
    "check_n_features_in_after_fitting": WIDTH,
    "check_classifiers_train": WIDTH,  # expects an error for rows of another width
    "check_supervised_y_2d": "expects a warning for labels (S, 1), which are accepted here",
    "check_class_weight_classifiers": "expects a good fit after one epoch",
    # Repeated texts are drawn into other batches. That the loss of a batch is the same is tested in
    # tests/objectives/test_weighted.py.
    "check_sample_weight_equivalence_on_dense_data": "expects a fit that is not stochastic",
}
# Numbers of about 1 are compared to 1e-7, which is less than a unit in the last place of float32: a
# product of one row may round otherwise than one of twenty. The next test compares to 1e-6.
FLOAT32 = ("TextRegressor", "check_methods_subset_invariance")


def test_numbers_of_single_texts_are_those_of_all_texts():
    regressor = TextRegressor(**FAST).fit(TEXTS, [float(colour == "red") for colour in COLOURS])
    alone = np.concatenate([regressor.predict([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, regressor.predict(TEXTS), rtol=0, atol=1e-6)


def spell(X):
    """Return a text for each row of X: a word for each number."""
    if isinstance(X, list) and X and isinstance(X[0], str):
        return X
    X = np.asarray(X)
    if X.ndim != 2:
        raise ValueError("Expected 2D array, got 1D array instead. Reshape your data")
    letters = "abcdefghij"
    rows = X.tolist()
    return [" ".join(f"{letters[i % 10]}{x:.1f}" for i, x in enumerate(row)) for row in rows]


def on_numbers(estimator_class):
    """Return a subclass that accepts arrays of numbers, and spells them as words."""

    def tags(self):
        tags = estimator_class.__sklearn_tags__(self)
        tags.input_tags.two_d_array = True
        tags.input_tags.one_d_array = tags.input_tags.string = False
        tags.target_tags.multi_output = False
        for each in filter(None, (tags.classifier_tags, tags.regressor_tags)):
            each.poor_score = True  # after one epoch
        return tags

    def with_spelling(method):
        return lambda self, X, *y: getattr(estimator_class, method)(self, spell(X), *y)

    methods = {
        name: with_spelling(name)
        for name in ("predict", "predict_proba")
        if hasattr(estimator_class, name)
    }

    def fit(self, X, y, sample_weight=None):
        return estimator_class.fit(self, spell(X), y, sample_weight)

    def score(self, X, y, sample_weight=None):
        return estimator_class.score(self, spell(X), y, sample_weight)

    members = {**methods, "fit": fit, "score": score, "__sklearn_tags__": tags,
               "__module__": __name__}  # fmt: skip
    return type(estimator_class.__name__, (estimator_class,), members)


def sklearn_checks():
    try:
        from sklearn.utils.estimator_checks import estimator_checks_generator
    except ImportError:
        return []
    found = []
    for estimator_class in (TextClassifier, TextRegressor):
        made = on_numbers(estimator_class)(epochs=1, batch_size=8, max_length=16)
        with warnings.catch_warnings(action="ignore"):  # that it does not extend BaseEstimator
            pairs = list(estimator_checks_generator(made))
        for estimator, check in pairs:
            name = getattr(check, "func", check).__name__
            found.append(
                pytest.param(estimator, check, name, id=f"{estimator_class.__name__}-{name}")
            )
    return found


@pytest.mark.parity
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("estimator", "check", "name"), sklearn_checks())
def test_sklearn_estimator_checks(estimator, check, name, monkeypatch):
    if name in NOT_FOR_TEXTS:
        pytest.skip(f"the check {NOT_FOR_TEXTS[name]}")
    if (type(estimator).__name__, name) == FLOAT32:
        pytest.skip("the check is about float64")
    # Pickle looks up classes by their names.
    monkeypatch.setattr(sys.modules[__name__], type(estimator).__name__, type(estimator))
    check(estimator)
