"""Colours in label files: palettes whose entries a lossless optimiser renumbered, and masks that are painted.

A file with a palette holds indices, which are class ids as long as nobody sorts the palette anew. An optimiser keeps
each pixel's colour and nothing else, so that the colours tell where it was at work: all that are in use are the set's
own, and stand elsewhere.

Axes: h and w height and width of the label.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.analysis import IGNORE
from bench.training.data.classes import Classes, Colour
from bench.training.data.files import read_list

# Lists of classes and colours that datumaro writes beside the folders of its masks.
COLOUR_LISTS = ("labelmap.txt", "label_colors.txt")
# What they call pixels without a class, and names of CamVid's that the SegNet tutorial shortened.
_VOID = ("void", "ignore", "ignored", "unlabeled", "unlabelled", "background")
_BLACK = (0, 0, 0)  # what an export leaves outside of all masks
_ALIASES = {"columnpole": "pole", "signsymbol": "sign", "sidewalk": "pavement"}
_ANEW = "save the mask anew with its ids in one channel of 8 bits (mode L)"
_SHOWN = 5  # colours in an error


def original_ids(
    indices: NDArray[np.uint8], stored: bytes, classes: Classes, *, path: Path
) -> tuple[NDArray[np.uint8], str]:
    """Return the ids behind the indices of a mask (h, w) with a palette of bytes, and a sentence where they differ.

    Indices are ids where each colour stands at its own place, and where the palette is not the set's. Where all colours
    in use are the set's own and stand elsewhere, they decide; where they are greys and no more, the greys are the ids.

    Raises:
        ValueError: some colours are the set's own, stand elsewhere and others are unknown; a colour is that of two
            classes; or nothing tells ids from places in the palette.
    """
    entries = [(stored[at], stored[at + 1], stored[at + 2]) for at in range(0, len(stored) - 2, 3)]
    places = np.unique(indices).tolist()
    used = {at: entries[at] for at in places if at < len(entries)}
    own = {at: classes.ids_of(colour) for at, colour in used.items()}
    moved = [at for at, ids in own.items() if ids and at not in ids]
    are_own = len(own) == len(places) and all(own.values())
    if (are_own and not moved) or _is_common(entries, num_used=len(places)):
        return indices, ""
    is_sorted = len(set(used.values())) == len(places)  # an optimiser keeps one entry of a colour
    by_colour = is_sorted and are_own
    by_grey = is_sorted and len(entries) == len(places) and _are_shades(used, classes)
    if (
        by_colour
        and not by_grey
        and (_has_hue(used, moved) or not classes.ids.keys() >= set(places))
    ):
        return _by_colours(indices, used, classes, path=path)
    if by_grey and not by_colour:
        table = np.zeros(256, np.uint8)
        table[places] = [used[at][0] for at in places]
        same = bool((table[indices] == indices).all())
        msg = f"{path} has shades of grey as its palette; they are read as its ids, as of a grey image"
        return table[indices], "" if same else msg
    if not moved or not (by_colour or _has_hue(used, moved)):
        return indices, ""
    at = moved[0]
    msg = (
        f"{path} has the colour {used[at]} of {classes.labels[min(own[at])]} at index {at} of its palette, and "
        "nothing tells whether its pixels are class ids or places in a palette that was sorted anew; "
        + _ANEW
    )
    raise ValueError(msg)


def _has_hue(used: Mapping[int, Colour], places: list[int]) -> bool:
    """Greys stand in every palette; a hue of the set's at another place is a trace."""
    return any(len(set(used[at])) > 1 for at in places)


def _are_shades(used: Mapping[int, Colour], classes: Classes) -> bool:
    """Whether colours are greys whose levels are ids: what an optimiser makes of a grey image with few ids."""
    return all(len(set(colour)) == 1 and colour[0] in classes.ids for colour in used.values())


def _by_colours(
    indices: NDArray[np.uint8], used: Mapping[int, Colour], classes: Classes, *, path: Path
) -> tuple[NDArray[np.uint8], str]:
    table = np.zeros(256, np.uint8)
    for at, colour in used.items():
        ids = classes.ids_of(colour)
        train = _train_id(ids, classes)
        if train is None:
            names = " and ".join(classes.labels[number] for number in sorted(ids))
            msg = f"{path} has its palette sorted anew, and its colour {colour} is that of {names}; {_ANEW}"
            raise ValueError(msg)
        table[at] = next(each for each in sorted(ids) if classes.ids.get(each, IGNORE) == train)
    at = next(at for at in used if table[at] != at)
    what = f"index {at} has the colour of {classes.labels[int(table[at])]}, id {table[at]}"
    note = f"{path} has the set's palette in another order ({what}); its classes are read by their colours"
    shared = _shared(path, list(used.values()), classes)
    return table[indices], f"{note}. {shared}" if shared else note


def _train_id(ids: frozenset[int], classes: Classes) -> int | None:
    """Train id behind a colour: an evaluated class ahead of ignored ids that share it, None for two classes."""
    trains = {classes.ids.get(number, IGNORE) for number in ids}
    evaluated = trains - {IGNORE}
    if len(evaluated) > 1:
        return None
    return next(iter(evaluated or trains))


def _is_common(entries: list[Colour], *, num_used: int) -> bool:
    """Whether a palette is one that programs give to any ids: one with unused entries, and no set's order."""
    if len(entries) <= num_used:
        return False
    ramp = [(at, at, at) for at in range(256)]
    return len(set(entries)) == 1 or entries in (
        ramp[: len(entries)],
        voc_colours()[: len(entries)],
    )


@cache
def voc_colours() -> list[Colour]:
    """Colour map of the VOC development kit (VOClabelcolormap.m), which many programs give to any labels."""

    def channel(number: int, first: int) -> int:
        return sum((number >> (3 * step + first) & 1) << (7 - step) for step in range(3))

    return [(channel(at, 0), channel(at, 1), channel(at, 2)) for at in range(256)]


def unpaint(
    pixels: NDArray[np.uint8], classes: Classes, *, path: Path
) -> tuple[NDArray[np.uint8], str]:
    """Return the train ids of a painted mask (h, w, 3), and a sentence on ignored pixels where one is due.

    Colours are those of a list beside the folder of the mask, as datumaro writes it, or the set's. Black that a list
    does not name is what no mask covers.

    Raises:
        ValueError: a colour is nobody's, or that of two classes.
    """
    listing = listing_of(path)
    black = None
    trains: Mapping[Colour, int | None]
    if listing is None:
        trains = {
            colour: _train_id(classes.ids_of(colour), classes)
            for colour in classes.colours.values()
        }
    else:
        trains = _colours_in(listing, classes)
        black = None if _BLACK in trains else _uncovered(trains, classes)
        trains = {_BLACK: black, **trains}
    packed = pixels.astype(np.uint32) @ np.array([65_536, 256, 1], np.uint32)
    values, places, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colours = [(int(each) >> 16, int(each) >> 8 & 255, int(each) & 255) for each in values]
    unknown = [at for at, colour in enumerate(colours) if trains.get(colour) is None]
    if unknown:
        raise ValueError(
            _unknown(path, [(colours[at], int(counts[at])) for at in unknown], trains, listing)
        )
    table = np.array([trains[colour] for colour in colours], np.uint8)
    note = "" if listing else _shared(path, colours, classes)
    if black == IGNORE and _BLACK in colours:
        count = int(counts[colours.index(_BLACK)])
        note = (
            f"{path} has {count} black pixels, and no line of {listing} names black; they are unlabelled and ignored. "
            "Where black is a class, add its line"
        )
    return table[places].reshape(packed.shape), note


def listing_of(path: Path) -> Path | None:
    """Find the list of classes and colours beside the folder of a mask."""
    listings = (path.parent.parent / name for name in COLOUR_LISTS)
    return next((listing for listing in listings if listing.is_file()), None)


def _uncovered(listed: Mapping[Colour, int | None], classes: Classes) -> int | None:
    """Train id of what no mask covers: the set's own black background; else 255, if the set ignores anything."""
    for train, (name, colour) in enumerate(zip(classes.names, classes.palette, strict=True)):
        if name == "background" and colour == _BLACK and train not in listed.values():
            return train
    return IGNORE if IGNORE in classes.ids.values() else None


def _unknown(
    path: Path,
    strange: list[tuple[Colour, int]],
    trains: Mapping[Colour, int | None],
    listing: Path | None,
) -> str:
    shown = ", ".join(f"{colour} ({count} pixels)" for colour, count in strange[:_SHOWN])
    more = f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
    whose = f"in {listing} for a class of the set" if listing else "in the set's palette"
    doubled = any(colour in trains for colour, _ in strange) and listing is None
    why = "are those of several classes" if doubled else f"are not {whose}"
    return f"{path} has colours that {why}: {shown}{more}; {_ANEW}, or mend the colours"


def _shared(path: Path, colours: list[Colour], classes: Classes) -> str:
    """Say which classes hide ignored pixels; Cityscapes paints groups of poles as poles."""
    for colour in colours:
        ids = classes.ids_of(colour)
        hidden = [number for number in ids if classes.ids.get(number) == IGNORE]
        if len(hidden) < len(ids) and hidden:
            own = next(number for number in ids if number not in hidden)
            names = ", ".join(classes.labels[number] for number in sorted(hidden))
            return (
                f"{path} paints {names}, which is not evaluated, as {classes.labels[own]}, and counts so; take the "
                "masks with ids for numbers to compare"
            )
    return ""


def _colours_in(listing: Path, classes: Classes) -> Mapping[Colour, int | None]:
    """Train ids by the colours of a list; None for a class that the set does not have."""
    ignored = (number for number, train in classes.ids.items() if train == IGNORE)
    hidden = tuple(classes.labels[number] for number in ignored if number in classes.labels)
    changed_ns = listing.stat().st_mtime_ns
    return _listed_colours(listing, changed_ns, names=classes.names, hidden=hidden)


@cache
def _listed_colours(
    listing: Path, _changed_ns: int, *, names: tuple[str, ...], hidden: tuple[str, ...]
) -> dict[Colour, int | None]:
    """Train ids by the colours of a list: lines NAME:R,G,B:... (VOC) or R G B NAME (CamVid).

    Those of `hidden` names and of what such lists call pixels without a class are 255, of unknown names None.
    Where no line has a colour, datumaro paints the places in the list, ahead of which it puts the background, in the
    colours of VOC.
    """
    lines = read_list(listing).splitlines()
    rows = [_listed(line, listing) for line in lines if line.strip() and not line.startswith("#")]
    if not any(colour for _, colour in rows):
        behind = [name for name, _ in rows if name != "background"]
        has_background = len(behind) < len(rows)
        rows = list(zip(["background", *behind], voc_colours(), strict=False))
        rows = rows if has_background else rows[1:]  # a line that isn't there names nothing
    own, void = [_plain(each) for each in names], {*map(_plain, hidden), *_VOID}
    trains: dict[Colour, int | None] = {}
    for name, colour in rows:
        plain = _plain(name)
        plain = plain if plain in own else _ALIASES.get(plain, plain)
        if colour and plain in own:
            trains[colour] = own.index(plain)
        elif colour and plain in void:
            trains[colour] = IGNORE
        elif colour:
            trains.setdefault(colour, None)
    return trains


def _listed(line: str, listing: Path) -> tuple[str, Colour | None]:
    if ":" in line:
        name, _, rest = line.partition(":")
        numbers = rest.partition(":")[0].split(",")
    else:
        words = line.split(maxsplit=3)
        numbers, name = words[:3], words[-1]
        if len(words) < 4:
            numbers, name = [], line.strip()
    if numbers in ([], [""]):
        return name, None
    try:
        red, green, blue = map(int, numbers)
    except ValueError as error:
        msg = f"{listing} has the line {line!r}, which is not a class and its colour; write R G B NAME, or NAME:R,G,B::"
        raise ValueError(msg) from error
    return name, (red, green, blue)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
