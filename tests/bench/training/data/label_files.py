"""Label files as other programs write them, made by hand."""

import struct
import zlib

import numpy as np
from PIL import Image


def write_png(path, ids, *, depth, interlaced=False):
    """Write a grey PNG of 1, 2, 4, 8 or 16 bits with zlib alone."""
    height, width = ids.shape
    if depth == 16:
        rows = [row.astype(">u2").tobytes() for row in ids]
    else:
        bits = (ids[..., None] >> np.arange(depth - 1, -1, -1) & 1).reshape(height, -1)
        rows = [np.packbits(row.astype(np.uint8)).tobytes() for row in bits]
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
        )
    )


def write_palette(path, indices, colours):
    """Write a mask with a palette of just those colours."""
    mask = Image.fromarray(np.asarray(indices, np.uint8))
    mask.putpalette([channel for colour in colours for channel in colour])
    path.parent.mkdir(parents=True, exist_ok=True)
    mask.save(path)


def renumbered(ids, colours):
    """Indices and colours as an optimiser leaves them: those in use alone, the darkest first."""
    used = sorted(set(np.unique(ids).tolist()), key=lambda at: (sum(colours[at]), at))
    table = np.zeros(256, np.uint8)
    table[used] = range(len(used))
    return table[ids], [colours[at] for at in used]
