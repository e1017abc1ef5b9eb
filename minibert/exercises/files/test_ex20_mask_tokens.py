"""Are the shares 15 % and 80 / 10 / 10, and are labels only where a target is?"""

import numpy as np
from hypothesis import strategies as st

from minibert.exercises.grading import exercise, grade, require, several

B, T, V, SPECIAL, MASK, IGNORED = 400, 100, 50, 4, 3, -100
ORDINARY = "ordinary tokens have the ids from 4 to V - 1"


def check_targets(ids, shown, labels):
    """Check the choice of targets, and their labels."""
    require(
        not np.array_equal(labels, ids),
        "labels: every token has one",
        "the label of a token that is not a target is -100",
    )
    is_target = labels != IGNORED
    wrong = {
        "the label is the original id, not what the model sees": np.where(is_target, shown, IGNORED)
    }
    grade(labels, np.where(is_target, ids, IGNORED), wrong, name="labels")
    require(not (is_target & (ids < SPECIAL)).any(), "a special token is a target", ORDINARY)
    require(
        not (~is_target & (shown != ids)).any(),
        "a token is hidden that is not a target",
        "draw the targets once, and choose among them",
    )
    together = is_target.any(axis=0) & is_target.all(axis=0, where=ids >= SPECIAL)
    require(
        not together.any(),
        "every sequence has the same targets",
        "draw a number for each token: (B, T)",
    )
    share = is_target.sum() / (ids >= SPECIAL).sum()
    require(abs(share - 0.15) < 0.01, f"{share:.1%} of the ordinary tokens are targets, not 15 %")


def check_shown(ids, shown):
    """Check what the model sees at the targets, which are given alone."""
    is_random = (shown != MASK) & (shown != ids)
    masked, random = (shown == MASK).mean(), is_random.mean()
    hints = {
        "targets are never shown unchanged or as a random token": masked > 0.97,
        "no target is shown as a random token": random < 0.02,
        "with two independent draws, one changes the share of the other: draw one number and cut "
        "it at 0.8 and 0.9": abs(masked - 0.72) < 0.02,
        "no target is shown unchanged": masked + random > 0.97,
    }
    require(
        abs(masked - 0.8) < 0.02 and abs(random - 0.098) < 0.015,
        f"[MASK] is shown at {masked:.1%} of the targets, another token at {random:.1%}; expected "
        "80 % and about 10 %",
        next((hint for hint, fits in hints.items() if fits), None),
    )
    noise = np.unique(shown[is_random])
    require(noise.min() >= SPECIAL, "a special token is shown as a random token", ORDINARY)
    require(
        len(noise) > V // 2,
        f"only {len(noise)} different random tokens are shown",
        "draw a token for each target, from all ordinary ones",
    )


@exercise({"seed": 1}, seed=st.integers(0, 1000), examples=3)
def test_mask_tokens(learner, seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, V, (B, T))
    before = ids.copy()
    shown, labels = map(np.asarray, several(learner.mask_tokens(ids, V, rng), "shown", "labels"))
    require(np.array_equal(ids, before), "ids: it was changed; mask a copy")
    for name, array in (("shown", shown), ("labels", labels)):
        require(array.shape == (B, T), f"{name}: expected the shape {(B, T)}, got {array.shape}")
    check_targets(ids, shown, labels)
    check_shown(ids[labels != IGNORED], shown[labels != IGNORED])
