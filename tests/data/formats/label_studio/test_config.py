"""Labelling configurations: labels, image key and regions of predictions."""

import pytest
from helpers.label_studio import CONFIG, export, task

from fsdet.data.formats.label_studio import LabelConfig, parse_export
from fsdet.errors import InputError


def test_a_configuration_gives_control_image_and_labels():
    config = LabelConfig.parse(CONFIG)
    assert (config.from_name, config.to_name, config.image_key) == ("label", "image", "picture")
    assert config.labels == {
        "green": "green", "Warm": "Warm", "red": "Warm", "orange": "Warm", "blue": "blue",
    }  # fmt: skip
    assert config.threshold == 0.05
    region = config.region((20, 20, 80, 60), "red", 0.75, (100, 200))
    assert region["value"] == {
        "x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["Warm"],
    }  # fmt: skip
    assert (region["original_width"], region["original_height"]) == (200, 100)
    (annotation,) = parse_export(export(task(1, region)))
    ((_, box),) = annotation.boxes
    assert box == pytest.approx((20, 20, 80, 60))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected XML"),
        ("<View>", "expected XML"),
        ("<View/>", "found none"),
        ("\ud800", "expected XML"),
        (CONFIG.replace('toName="image"', 'toName="text"'), "toName=> of an <Image"),
        (CONFIG.replace('name="label"', ""), "expected <RectangleLabels name="),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + CONFIG, "document type or entities"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "document type or entities"),
    ],
)
def test_an_invalid_configuration_is_reported_with_its_reason(text, message):
    with pytest.raises(InputError, match=message):
        LabelConfig.parse(text)
