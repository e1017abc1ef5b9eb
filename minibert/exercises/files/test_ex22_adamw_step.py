"""Does one step give the parameters and means of minibert's AdamW?"""

import numpy as np
from hypothesis import strategies as st

from minibert.exercises.grading import arrays, exercise, grade, several
from minibert.optim import AdamW
from minibert.parameters import Parameters

D = 5
RATE, BETA1, BETA2, EPS, DECAY = 0.1, 0.8, 0.95, 0.01, 0.3


def adamw(p, g, m, v, step):
    """Return the new p, m and v as the package computes them."""
    optimizer = AdamW(
        Parameters({"p": (D,)}, p.copy()), betas=(BETA1, BETA2), eps=EPS, weight_decay=DECAY
    )
    optimizer.first[:], optimizer.second[:], optimizer.step = m, v, step - 1
    optimizer.update(g, RATE)
    return optimizer.params["p"], optimizer.first, optimizer.second


@exercise(inputs=arrays(p=(D,), g=(D,), m=(D,), root=(D,)), step=st.integers(1, 5))
def test_adamw_step(learner, inputs, step):
    p, g, m, root = inputs.values()
    v = root**2
    got_p, got_m, got_v = several(
        learner.adamw_step(
            p.copy(), g.copy(), m.copy(), v.copy(), step, RATE, BETA1, BETA2, EPS, DECAY
        ),
        "p", "m", "v",
    )  # fmt: skip
    new_p, new_m, new_v = adamw(p, g, m, v, step)
    grade(
        got_m,
        new_m,
        {
            "the factor (1 - β₁) of g is missing": BETA1 * m + g,
            "the old mean is missing": (1 - BETA1) * g,
            "β₁ and 1 - β₁ are exchanged": (1 - BETA1) * m + BETA1 * g,
            "the stored m is corrected; only the m̂ of this step is": new_m / (1 - BETA1**step),
            "the decay is added to the gradient, as in Adam; AdamW takes it from p": (
                BETA1 * m + (1 - BETA1) * (g + DECAY * p)
            ),
        },
        name="m",
    )
    grade(
        got_v,
        new_v,
        {
            "g is not squared": BETA2 * v + (1 - BETA2) * g,
            "the factor (1 - β₂) of g² is missing": BETA2 * v + g**2,
            "the stored v is corrected; only the v̂ of this step is": new_v / (1 - BETA2**step),
        },
        name="v",
    )
    m_hat, v_hat = new_m / (1 - BETA1**step), new_v / (1 - BETA2**step)
    direction = m_hat / (np.sqrt(v_hat) + EPS)
    root_after = np.sqrt(new_v / (1 - BETA2 ** (step + 1))) + EPS
    grade(
        got_p,
        new_p,
        {
            "the step has the wrong sign: subtract it": p + RATE * (direction + DECAY * p),
            "the bias correction is missing: divide m by 1 - β₁ᵗ and v by 1 - β₂ᵗ": p
            - RATE * (new_m / (np.sqrt(new_v) + EPS) + DECAY * p),
            "v is not corrected: divide it by 1 - β₂ᵗ": p
            - RATE * (m_hat / (np.sqrt(new_v) + EPS) + DECAY * p),
            "m is not corrected: divide it by 1 - β₁ᵗ": p
            - RATE * (new_m / (np.sqrt(v_hat) + EPS) + DECAY * p),
            "the weight decay is missing": p - RATE * direction,
            "the decay is not multiplied by the rate": p - RATE * direction - DECAY * p,
            "the decay has the wrong sign": p - RATE * (direction - DECAY * p),
            "the root of v̂ is missing": p - RATE * (m_hat / (v_hat + EPS) + DECAY * p),
            "eps is inside the root; it is added after": p
            - RATE * (m_hat / np.sqrt(v_hat + EPS) + DECAY * p),
            "t is one too large: the first step is 1": p
            - RATE * (new_m / (1 - BETA1 ** (step + 1)) / root_after + DECAY * p),
            "t is one too small, so that the first division is by 0": np.full(D, np.nan),
        },
        name="p",
    )
