"""Names of files made from the ids of pairs: the one place where an id becomes part of a path."""

import hashlib
import re

__all__ = ["file_name", "swap_name"]

# Bytes of one id in a name: two ids, `__` and an ending fit into the 255 bytes of a file name.
_LONGEST = 110
# What a file system or a shell takes for more than a name, a beginning that hides the file, and the escape itself.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|%]|^\.|[\ud800-\udfff]')
# An underscore that could be a part of the `__` between two ids.
_JOINT = re.compile(r"^_|_$|_(?=_)")


def file_name(name: str) -> str:
    """Makes a file name of an id, without an ending: different ids have different names.

    A character that is unsafe in a file name becomes % and the two hexadecimal digits of each of its bytes, as in
    addresses. A name that would be too long ends in %- and a hash of the id.

    Example:
        >>> from cagan.names import file_name
        >>> file_name("00001"), file_name("shop/1"), file_name("../../x")
        ('00001', 'shop%2F1', '%2E.%2F..%2Fx')
    """
    return _shortened(_UNSAFE.sub(_escaped, name), name)


def swap_name(human: str, target: str) -> str:
    """Makes the file name of a swap, without an ending: `<human>__<target>`, and different for different pairs of ids.

    Example:
        >>> from cagan.names import swap_name
        >>> swap_name("00001", "00002"), swap_name("a__b", "c"), swap_name("a", "b__c")
        ('00001__00002', 'a%5F_b__c', 'a__b%5F_c')
    """
    return "__".join(_shortened(_JOINT.sub(_escaped, _UNSAFE.sub(_escaped, name)), name) for name in (human, target))


def _escaped(found: "re.Match[str]") -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))


def _shortened(text: str, name: str) -> str:
    content = text.encode()
    if len(content) <= _LONGEST:
        return text
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return content[: _LONGEST - 34].decode(errors="ignore") + f"%-{digest}"
