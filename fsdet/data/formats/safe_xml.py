"""XML parser that refuses document types: no entity is expanded, no file is fetched."""

from xml.etree import ElementTree
from xml.parsers import expat

from fsdet.errors import InputError


def parse_xml(text: bytes) -> ElementTree.Element:
    """Parse XML and return the root element.

    Raises:
        ExpatError: not well-formed XML.
        InputError: a document type, which may declare entities.
    """
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse
    parser.Parse(text, True)
    return builder.close()


def _refuse(*_: object) -> None:
    raise InputError("XML with a document type or entities is refused: remove <!DOCTYPE ...>")
