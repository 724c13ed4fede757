"""XML without a document type: nothing to expand, nothing to fetch."""

from xml.etree import ElementTree
from xml.parsers import expat

from fsdet.errors import InputError


def parse(text: bytes) -> ElementTree.Element:
    """The root element.

    Raises:
        ExpatError: not whole XML.
        InputError: it has a document type, and so may have entities.
    """
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse
    parser.Parse(text, True)
    return builder.close()


def _refuse(*_) -> None:
    raise InputError("XML with a document type or entities is not accepted")
