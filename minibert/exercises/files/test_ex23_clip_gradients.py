"""Do all gradients get the factor that limits their common norm?"""

import numpy as np

from minibert.exercises.grading import arrays, exercise, grade, require
from minibert.optim import clip_scale


@exercise(inputs=arrays(first=(2, 3), second=(4,)))
def test_clip_gradients(learner, inputs):
    parts = list(inputs.values())
    norms = [float(np.sqrt((part**2).sum())) for part in parts]
    norm = float(np.sqrt(sum(each**2 for each in norms)))
    largest = max(float(np.abs(part).max()) for part in parts)
    for longest in (norm / 4, 2 * norm):
        _, scale = clip_scale([part.ravel() for part in parts], longest)
        clipped = learner.clip_gradients([part.copy() for part in parts], longest)
        is_list = isinstance(clipped, list | tuple) and len(clipped) == len(parts)
        require(is_list, "expected a list of as many arrays as were given")
        for i, (got, part) in enumerate(zip(clipped, parts, strict=True)):
            grade(
                got,
                scale * part,
                {
                    "each array is clipped by its own norm; the norm is that of all numbers": part
                    * min(1, longest / norms[i]),
                    "each number is clipped, which changes the direction; use one factor": np.clip(
                        part, -longest, longest
                    ),
                    "short gradients are made longer: the factor is at most 1": part
                    * (longest / norm),
                    "the root is missing in the norm": part * min(1, longest / norm**2),
                    "the norms are added; their squares are": part * min(1, longest / sum(norms)),
                    "this is the largest number; the norm is the root of the sum of squares": part
                    * min(1, longest / largest),
                    "nothing is clipped": part,
                },
                name=f"gradient {i}, norm {norm:.3g}, longest {longest:.3g}",
            )
