"""The line about a vision transformer's cost: its tokens, a measured time, and when it is said."""

import logging
import re

from helpers import tiny

from fsdet.experiment.run_log import LossLog
from fsdet.experiment.stages.training import base_training


def lines(caplog, folder, *words):
    caplog.clear()
    settings = tiny.config("train.steps=1", *words)
    with caplog.at_level(logging.INFO, "fsdet"):
        base_training(tiny.context(settings, folder, losses=LossLog(folder)))
    return [message for message in caplog.messages if "tokens" in message]


def test_base_training_says_what_an_image_costs_a_vision_transformer(tmp_path, caplog):
    words = ["detector.backbone.name=timm/test_vit", "detector.backbone.pyramid=simple"]
    words += ["detector.min_size=96", "detector.max_size=96"]
    (line,) = lines(caplog, tmp_path, *words)
    found = re.fullmatch(
        r"timm/test_vit: an image of 64 x 64 pixels has 36 tokens; backbone and pyramid take about"
        r" (.+) s on cpu",
        line,
    )
    assert found and 0 < float(found[1]) < 60
    assert lines(caplog, tmp_path, *words) == []  # it is trained


def test_other_backbones_say_nothing(tmp_path, caplog):
    assert lines(caplog, tmp_path) == []
