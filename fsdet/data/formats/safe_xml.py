"""XML parser that refuses document types: no entity is expanded, no file is fetched."""

import re
from xml.etree import ElementTree
from xml.parsers import expat

from fsdet.errors import InputError

DECLARATION = re.compile(rb"""<\?xml[^>]{0,100}?encoding=["']([A-Za-z0-9._-]{1,40})["']""")


def parse_xml(text: bytes) -> ElementTree.Element:
    """Parse XML in the encoding that it declares and return the root element; namespaces are dropped.

    Raises:
        ExpatError: not well-formed XML.
        InputError: a document type, which may declare entities, or an encoding that does not fit.
    """
    text = text.lstrip(b" \t\r\n")
    builder, parser = ElementTree.TreeBuilder(), _parser(text)
    if parser is None:
        text, parser = _as_utf8(text), expat.ParserCreate("utf-8")
    parser.StartElementHandler = lambda tag, attributes: builder.start(_local(tag), attributes)
    parser.EndElementHandler = lambda tag: builder.end(_local(tag))
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse
    parser.Parse(text, True)
    return builder.close()


def _parser(text: bytes) -> expat.XMLParserType | None:
    """A parser of expat's own encodings; None for a declared encoding that only Python knows."""
    declared = DECLARATION.match(text)
    known = (b"utf-8", b"utf-16", b"iso-8859-1", b"us-ascii")
    return expat.ParserCreate() if not declared or declared[1].lower() in known else None


def _as_utf8(text: bytes) -> bytes:
    declared = DECLARATION.match(text)
    name = declared[1].decode() if declared else "utf-8"
    try:
        return text.decode(name).encode()
    except (LookupError, ValueError) as error:
        raise InputError(f"XML that is not in its declared encoding {name}: {error}") from None


def _local(tag: str) -> str:
    return tag.rpartition(":")[2]


def _refuse(*_: object) -> None:
    raise InputError("XML with a document type or entities is refused: remove <!DOCTYPE ...>")
