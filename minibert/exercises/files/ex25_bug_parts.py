"""Chapter 12: repair a training step that splits its batch into parts."""


def batch_gradient(gradients, counts):
    """Return the gradient of the loss of a batch, from those of its parts.

    The loss of the batch is the mean over all of its targets. The loss of a part is the mean over
    the targets of the part. There is a bug: where the parts contain different numbers of targets,
    the result depends on how the batch was split. Repair it.

    Args:
        gradients (n, D): the gradient of each part's loss.
        counts (n,): the number of targets of each part, at least one in all; a part without targets
            has a gradient of zeros.

    Returns:
        gradient (D,).
    """
    return gradients.mean(axis=0)  # (n, D) -> (D,)
