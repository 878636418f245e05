"""Two ways for an input to be of no effect (STYLE: their fault and our fault are different errors).

    ProtocolError
      Ignore     stale, early or a duplicate: nobody's fault
      Invalid    somebody's fault: malformed, forged, out of turn, or false

Any other exception is a bug of ours and is loud.
"""


class ProtocolError(Exception):
    """Base of both, for code that treats them alike; the message is one line that names the cause."""


class Ignore(ProtocolError):
    """The input has no effect and nobody is to blame."""


class Invalid(ProtocolError):
    """The input breaks a rule; its author is to blame."""


def shown(text: object, most: int = 200) -> str:
    """What somebody else has chosen, fit for one line of an error: printable, and `most` characters of it."""
    return "".join(character if character.isprintable() else "?" for character in str(text)[:most])
