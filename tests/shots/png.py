"""Pictures with a palette: a screenshot of 16 million possible colours becomes a file of a third of its size."""

import base64
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLOURS = 255
_PIXELS = """async (data) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const found = context.getImageData(0, 0, image.width, image.height).data;
  let text = "";
  for (let at = 0; at < found.length; at += 0x8000) text += String.fromCharCode(...found.subarray(at, at + 0x8000));
  return [image.width, image.height, btoa(text)];
}"""


def reduced(blank: Any, picture: bytes) -> bytes:
    """The picture with at most 255 colours; `blank` is an empty page of the browser, which reads the original."""
    width, height, data = blank.evaluate(_PIXELS, base64.b64encode(picture).decode())
    pixels = np.frombuffer(base64.b64decode(data), np.uint8).reshape(-1, 4)[:, :3].astype(np.uint32)
    codes = pixels[:, 0] << 16 | pixels[:, 1] << 8 | pixels[:, 2]
    unique, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
    colours = np.stack([unique >> 16, unique >> 8 & 255, unique & 255], axis=1).astype(np.int64)
    boxes = _boxes(colours, counts)
    palette = np.zeros((len(boxes), 3), np.uint8)
    box_of = np.zeros(len(unique), np.uint8)
    for number, box in enumerate(boxes):
        palette[number] = np.round(np.average(colours[box], axis=0, weights=counts[box]))
        box_of[box] = number
    return _encoded(palette, box_of[places.reshape(-1)].reshape(height, width))


def _boxes(colours: NDArray[np.int64], counts: NDArray[Any]) -> list[NDArray[Any]]:
    """The colours in groups: the group that strays most is halved until there are enough."""
    boxes = [np.arange(len(colours))]
    errors = [_error(colours, counts, boxes[0])]
    while len(boxes) < min(COLOURS, len(colours)):
        worst = int(np.argmax(errors))
        box = boxes.pop(worst)
        errors.pop(worst)
        spread = colours[box].max(axis=0) - colours[box].min(axis=0)
        values = colours[box][:, int(np.argmax(spread))]
        middle = np.average(values, weights=counts[box])
        for half in (box[values <= middle], box[values > middle]):
            boxes.append(half)
            errors.append(_error(colours, counts, half))
    return boxes


def _error(colours: NDArray[np.int64], counts: NDArray[Any], box: NDArray[Any]) -> float:
    """How far the pixels of a group are from its middle, large areas less than their share: thin text stays sharp."""
    if len(box) < 2:
        return 0.0
    middle = np.average(colours[box], axis=0, weights=counts[box])
    return float((((colours[box] - middle) ** 2).sum(axis=1) * np.sqrt(counts[box])).sum())


def _encoded(palette: NDArray[np.uint8], rows: NDArray[np.uint8]) -> bytes:
    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = rows.shape
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    raw = np.hstack([np.zeros((height, 1), np.uint8), rows]).tobytes()
    packed = zlib.compress(raw, 9)
    parts = part(b"IHDR", head) + part(b"PLTE", palette.tobytes()) + part(b"IDAT", packed) + part(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts
