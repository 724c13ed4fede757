"""Folders as labelling tools write them, from the description of `helpers.folders`."""

import csv
import json


def labelme_content(name, size, boxes) -> dict:
    shapes = [
        {"label": label, "points": [[x2, y1], [x1, y2]], "shape_type": "rectangle", "flags": {}}
        for label, x1, y1, x2, y2 in boxes
    ]
    content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"..\\x\\{name}.png"}
    return content | {"imageData": None, "imageHeight": size[0], "imageWidth": size[1]}


def write_labelme(root, scene) -> None:
    for name, (size, boxes) in scene.items():
        (root / f"{name}.json").write_text(json.dumps(labelme_content(name, size, boxes)))


def cvat_xml(images: str) -> str:
    return f"<?xml version='1.0'?><annotations><version>1.1</version><meta/>{images}</annotations>"


def cvat_image(name, size, shapes: str, number=0) -> str:
    return (
        f'<image id="{number}" name="{name}" width="{size[1]}" height="{size[0]}">{shapes}</image>'
    )


def write_cvat(root, scene) -> None:
    images = ""
    for number, (name, (size, boxes)) in enumerate(scene.items()):
        shapes = "".join(
            f'<box label="{label}" source="manual" occluded="0" xtl="{x1}" ytl="{y1}" xbr="{x2}"'
            f' ybr="{y2}" z_order="0"/>'
            for label, x1, y1, x2, y2 in boxes
        )
        images += cvat_image(f"{name}.png", size, shapes, number)
    (root / "annotations.xml").write_text(cvat_xml(images))


def rect(x1, y1, x2, y2) -> dict:
    return {"name": "rect", "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}


def via_entries(scene, suffix=".png") -> dict:
    entries = {}
    for name, (_, boxes) in scene.items():
        regions = [
            {"shape_attributes": rect(*box), "region_attributes": {"label": label}}
            for label, *box in boxes
        ]
        entry = {"filename": name + suffix, "size": 99, "regions": regions}
        entries[f"{name}{suffix}99"] = entry | {"file_attributes": {}}
    return entries


def write_via(root, scene) -> None:
    project = {"_via_settings": {}, "_via_img_metadata": via_entries(scene), "_via_attributes": {}}
    (root / "via_project.json").write_text(json.dumps(project))


def write_rows(file, header: str, rows) -> None:
    with open(file, "w", newline="") as text:
        csv.writer(text).writerows([header.split(","), *rows])


VIA_HEADER = (
    "#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
    "region_attributes"
)


def write_via_csv(root, scene) -> None:
    rows = []
    for entry in via_entries(scene).values():
        start, regions = [entry["filename"], 99, "{}", len(entry["regions"])], entry["regions"]
        for number, region in enumerate(regions):
            rows.append([*start, number, *map(json.dumps, region.values())])
        if not regions:
            rows.append([*start, 0, "{}", "{}"])
    write_rows(root / "via_export.csv", VIA_HEADER, rows)


TENSORFLOW_HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax"


def write_tensorflow_csv(root, scene) -> None:
    rows = []
    for name, ((height, width), boxes) in scene.items():
        for box in boxes or [("", "", "", "", "")]:
            rows.append([f"{name}.png", width, height, *box])
    write_rows(root / "labels.csv", TENSORFLOW_HEADER, rows)


OPENIMAGES_HEADER = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf"
)


def openimages_row(name, size, label, x1, y1, x2, y2, group=0) -> list:
    height, width = size
    shares = [x1 / width, x2 / width, y1 / height, y2 / height]
    return [name, "xclick", f"/m/{label}", 1, *shares, 0, 0, group]


def write_openimages(root, scene) -> None:
    rows = []
    for name, (size, boxes) in scene.items():
        rows += [openimages_row(name, size, *box) for box in boxes] or [[name, *[""] * 10]]
    write_rows(root / "annotations-bbox.csv", OPENIMAGES_HEADER, rows)
    labels = sorted({box[0] for _, boxes in scene.values() for box in boxes})
    lines = "".join(f"/m/{label},{label}\n" for label in labels)
    (root / "class-descriptions-boxable.csv").write_text(lines)


WRITERS = {  # by `Reader.name`
    "labelme": write_labelme,
    "CVAT": write_cvat,
    "VIA": write_via,
    "VIA CSV": write_via_csv,
    "TensorFlow CSV": write_tensorflow_csv,
    "OpenImages": write_openimages,
}
