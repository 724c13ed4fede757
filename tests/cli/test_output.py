"""Output of commands: no control character of a name in a data set reaches the terminal."""

import io
import json
import logging
import sys

import pytest
from helpers import folders
from helpers.commands import run

from fsdet.cli.output import escaped_output
from fsdet.errors import printable

TITLE = "\x1b]0;owned\x07\x1b[31m\u202e\ud800"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", r"\x1b[31m"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\u202e\u2066", r"\u202e\u2066"),
        ("\ud800", r"\ud800"),
        ("\x9b", r"\x9b"),
        ("décran ميوه 猫", "décran ميوه 猫"),
    ],
)
def test_control_characters_are_escaped(text, shown):
    assert printable(text) == shown


def test_lines_and_tabs_of_the_commands_stay():
    stream = io.StringIO()
    with escaped_output(stream):
        print("a\tb\x1b[2J")
    assert stream.getvalue() == "a\tb\\x1b[2J\n"
    assert sys.stdout is not stream


def test_names_of_a_data_set_are_escaped(tmp_path):
    content = folders.coco_content()
    content["categories"][0]["name"] = TITLE.rstrip("\ud800")
    content["images"][0]["file_name"] = TITLE
    folders.write_coco(tmp_path, content)
    status, output, errors = run("check", tmp_path, "train", "--all")
    assert status == 1 and r"\x1b]0;owned\x07" in output and r"\ud800" in output
    status, _, refused = run("check", tmp_path, TITLE)
    assert status == 2 and refused.startswith("error: ")
    assert not set(output + errors + refused) & {"\x1b", "\x07", "\u202e", "\ud800"}


def test_json_is_still_json(tmp_path):
    folders.write_coco(tmp_path)
    assert json.loads(run("check", tmp_path, "train", "--json")[1])[0]["images"] == 3


def test_log_messages_are_escaped(monkeypatch):
    stream, root = io.StringIO(), logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(sys, "stderr", stream)
    with escaped_output(io.StringIO()):
        logging.getLogger("fsdet").warning("no box of %s", "\x1b[31m")
    assert stream.getvalue() == "WARNING: no box of \\x1b[31m\n"
