"""What is true at the end of each slice, moment by moment: one truth value a slice, in their order."""

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def held_on(mask: Mask, slices: int) -> Mask:
    """True where the mask is, or was within so many slices, the present one among them."""
    counts = np.concatenate(([0] * slices, np.cumsum(mask)))
    return np.asarray(counts[slices:] > counts[:-slices])


def latched(on: Mask, off: Mask, known: Mask) -> Mask:
    """True from where `on` is until it no longer is and `off` is. The first slices are as `known` says."""
    begins, first = on.copy(), len(known)
    begins[:first] = known
    ends = ~begins & off
    ends[:first] = ~known
    at = np.arange(len(on))
    begun, ended = (np.maximum.accumulate(np.where(some, at, -1)) for some in (begins, ends))
    return np.asarray(begun > ended)
