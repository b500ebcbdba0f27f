"""Which characters may stand in what people type (one rule for all services).

What cannot be seen can deceive: a title whose line runs backwards in an administrator's table, two titles that look
equal. Refused are therefore all characters of the categories Cc, Cf, Cs, Co, Cn, Zl and Zp, and letters and marks that
show nothing. What scripts need is allowed where they need it: ZWNJ and ZWJ between letters of joining scripts, after a
virama, and ZWJ and the emoji selector inside of emoji.
"""

import re
import unicodedata
from collections.abc import Iterable

_ZWNJ, _ZWJ, _EMOJI_SELECTOR, _KEYCAP = "\u200c", "\u200d", "\ufe0f", "\u20e3"
# Emoji with a selector that are no symbols by category (So).
_EMOJI = frozenset("\u203c\u2049\u2194\u25fb\u25fc\u25fd\u25fe\u3030")
# Seen by nobody, and yet letters, marks or symbols: combining grapheme joiner, Hangul fillers, Khmer inherent vowels,
# Mongolian and other variation selectors, the empty braille pattern.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
# Arabic, Syriac, N'Ko, Mandaic, Mongolian, Phags-pa, Arabic's presentation forms, Adlam: their letters join.
_JOINING = re.compile(
    "[\u0600-\u074f\u0750-\u077f\u07c0-\u07ff\u0840-\u08ff\u1800-\u18aa\ua840-\ua877\ufb50-\ufdff\ufe70-\ufefe"
    "\U0001e900-\U0001e94b]"
)
# Categories Cc and Cs.
_CONTROLS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")
_VIRAMA = 9
_SKIN_TONES = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
LINE_BREAKS = frozenset("\n\t")
# Hints for line breaking show nothing, but texts of several lines come with them.
_HINTS = frozenset("\u00ad\u200b\u2060")


def refuse_control_characters(value: str, *, allowed: Iterable[str] = ()) -> str:
    """Return ``value``, or raise ValueError if it holds control characters or lone surrogates.

    For what is only compared with stored text. PostgreSQL refuses NUL, and UTF-8 cannot carry a lone surrogate.
    """
    for found in _CONTROLS.findall(value):
        if found not in allowed:
            raise ValueError(f"must not contain {_name(found)}")
    return value


def refuse_invisible(value: str, *, multiline: bool = False) -> str:
    """Return ``value``, or raise ValueError that names the first character which must not be there.

    ``multiline``: line breaks, tabs and hints for line breaking are text.
    """
    # Both tests together are quick for what people type: a body is looked at before its texts' lengths are.
    if value.isprintable() and _BLANK.search(value) is None:
        return value
    for place, character in enumerate(value):
        if character.isprintable() and not _BLANK.match(character):
            continue
        if multiline and (character in LINE_BREAKS or character in _HINTS):
            continue
        if unicodedata.category(character) != "Zs" and not _is_needed(value, place):
            raise ValueError(f"must not contain {_name(character)}")
    return value


def _is_needed(value: str, place: int) -> bool:
    """Whether the invisible character at ``place`` belongs to the writing around it."""
    character, before, after = value[place], value[place - 1 : place], value[place + 1 : place + 2]
    if character == _EMOJI_SELECTOR:
        return bool(before) and (unicodedata.category(before) == "So" or before in _EMOJI or after == _KEYCAP)
    if character not in {_ZWNJ, _ZWJ} or not before:
        return False
    if unicodedata.combining(before) == _VIRAMA:
        return True
    if character == _ZWJ and (before in _SKIN_TONES + _EMOJI_SELECTOR or unicodedata.category(before) == "So"):
        return bool(after) and unicodedata.category(after) == "So"
    return bool(_JOINING.match(before)) and bool(_JOINING.match(after))


def _name(character: str) -> str:
    """For example ``U+202E (RIGHT-TO-LEFT OVERRIDE)``."""
    code = f"U+{ord(character):04X}"
    if name := unicodedata.name(character, ""):
        return f"{code} ({name})"
    kinds = {"Cc": "a control character", "Cs": "a lone surrogate", "Co": "for private use"}
    return f"{code} ({kinds.get(unicodedata.category(character), 'not assigned')})"
