"""Half a cosine, from 1 to 0: Loshchilov & Hutter, 2017, eq. 5, without restarts."""

import math


def cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


SCHEDULE = cosine
