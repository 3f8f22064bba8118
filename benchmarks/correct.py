"""p-values that stand beside each other, corrected for being several."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given (Holm, 1979): at most α of them falls below α with probability α if nothing is
    there to be found, however they depend on each other."""
    order, adjusted, largest = sorted(range(len(p_values)), key=lambda index: p_values[index]), [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
