"""JSON that a client sent, read strictly."""

from __future__ import annotations

import json
from typing import Any

from dlkit.serving.refused import invalid


def _refuse(word: str) -> Any:
    raise invalid(f"the JSON has {word}, which is no number of JSON's")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def read_json(data: bytes | bytearray | memoryview) -> dict[str, Any]:
    """An object.

    Raises:
        RefusedError: it is no JSON, is nested beyond reason, has NaN or Infinity, or is no object.
    """
    try:
        found = _DECODER.decode(str(data, "utf-8"))
    except RecursionError:
        raise invalid("the JSON is nested too deeply") from None
    except ValueError as error:  # of the text, its numbers and its coding
        what = getattr(error, "msg", None)  # never the text itself
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise invalid(
            f"the body is no JSON ({what or 'not UTF-8, or a number too long'}{where})"
        ) from None
    if not isinstance(found, dict):
        raise invalid("the JSON is no object")
    return found
