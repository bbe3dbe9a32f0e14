"""Feature names in the style of Numerai's: three meaningless words, always the same ones."""

from __future__ import annotations

_FIRST = (
    "amber brisk calm dusky eager faint grave hardy inert jolly "
    "keen lofty mellow nimble opaque plain quiet rural sober tidy"
)
_SECOND = (
    "agate basalt cobalt dolomite emery flint granite halite indium jasper "
    "kyanite lignite marble nickel onyx pumice quartz rutile slate topaz"
)
_THIRD = (
    "anchor bobbin candle dynamo easel funnel gimbal hammer inkwell jigsaw "
    "kettle ladder mallet needle oven pulley quiver rudder sickle trowel"
)


def feature_names(count: int) -> list[str]:
    """`count` different names, the same ones first whatever the count; `ValueError` above 8,000."""
    first, second, third = _FIRST.split(), _SECOND.split(), _THIRD.split()
    limit = len(first) * len(second) * len(third)
    if count > limit:
        raise ValueError(f"there are only {limit} names")
    names = []
    for index in range(count):
        # 2741 has no factor in common with the limit, so that no name comes twice and neighbours look different.
        rest, last = divmod(index * 2741 % limit, len(third))
        start, middle = divmod(rest, len(second))
        names.append(f"feature_{first[start]}_{second[middle]}_{third[last]}")
    return names


def renamed(name: str) -> str:
    """The name of the same feature after a major release: its three words in reverse order."""
    first, *words = name.split("_")
    return "_".join([first, *reversed(words)])
