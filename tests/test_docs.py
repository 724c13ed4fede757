"""What the documents say works: commands and snippets are run, links and names are there.

Run for real: `python -c`, `python -m zipfile`, the tools, `curl` against the page's own service (at a free port),
Python snippets; `text` blocks are compared with what the block before has printed. Not run, and why:

- `make`: installs packages and trains for minutes. Its targets are looked up in the Makefile.
- `.`: activates an environment that a reader makes.
- `pip install`: the packages are there. The extra is looked up in setup.py.
- `ray`: waits for other machines. `fsdet bulk` detects in this process.
- `torchrun`: its processes have a test of their own. Its command is looked at as if it came alone.
- `pytest`: its tests run beside this one. Its files are looked up.
- `tools/train.py`: takes minutes to days, on downloads. The configuration is read, data of the same layout and
  names opened and split, and every head built. On `my-data` it does run, in tiny steps.
- `tools/transfer.py`: wants data that are not here. Its words are read, and a detector of the name loaded.
- `tools/download.py`: fetches gigabytes. Its words are read, and the files that they mean are looked up.
- `tools/benchmark.py`: takes an hour. Its plan is read, and every head built with arguments of its grid.
- `tools/studio.py`: does not end. All but the page's server runs.
- Inline code. Paths, dotted names and keys of the configuration in it must be there.
"""

import asyncio
import contextlib
import csv
import io
import json
import re
import runpy
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
import uvicorn
import yaml
from helpers import bulk_detection, detectors, published
from helpers.commands import run
from helpers.folders import coco_content, write_coco, write_voc
from helpers.label_studio import rectangle, task
from helpers.paths import ROOT
from scipy import stats

import fsdet
from fsdet import build
from fsdet import config as cfg
from fsdet.api.detector import BATCH
from fsdet.apps.studio import exchange
from fsdet.apps.studio.project import Box, Labels, Photo, Project
from fsdet.config import typed_yaml
from fsdet.data import open_data
from fsdet.data.formats.label_studio import LabelConfig
from fsdet.data.shapes.dataset import SHAPES_SPLITS, open_shapes, write_shapes
from fsdet.data.shots import splits
from fsdet.data.shots.images import choose
from fsdet.errors import InputError
from fsdet.experiment.benchmark import plan
from fsdet.importers import PRESETS, importer
from fsdet.importers.names import LISTS

pytestmark = pytest.mark.slow

README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "datasets" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
SHELL = ("", "sh")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

# Files that a reader makes.
MADE = {"fsdet/heads/gaussian.py"}
TINY = [
    "device=cpu",
    "detector.min_size=64",
    "detector.max_size=64",
    "detector.backbone.channels=16",
    "detector.anchors=[[8],[16],[32]]",
    "detector.proposals=[40,12]",
    "detector.per_image=16",
    "detector.width=32",
    "data.workers=0",
    "train.steps=2",
    "train.batch=2",
    "train.warmup=1",
    "meta.steps=2",
    "meta.ways=[2,3]",
    "meta.shots=[1,2]",
    "meta.images=20",
    "evaluate.shots=[1]",
    "evaluate.seeds=2",
    "evaluate.base_shots=2",
    "evaluate.background=16",
    "evaluate.overlays=1",
    "baselines=[]",
]


class Fence(NamedTuple):
    page: Path
    line: int
    language: str
    text: str


def fences(page: Path) -> list[Fence]:
    text = page.read_text(encoding="utf-8")
    return [
        Fence(page, 1 + text.count("\n", 0, at.start()), at[1], at[2])
        for at in FENCE.finditer(text)
    ]


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command; one with an open quote goes on in the next line."""
    waiting = ""
    for line in text.splitlines():
        waiting += line + "\n"
        try:
            words = shlex.split(waiting, comments=True)
        except ValueError:  # no closing quotation
            continue
        waiting = ""
        if words:
            yield words
    assert not waiting, waiting


def pattern(text: str) -> str:
    """A `text` block as a regular expression: `...` is anything, on a line of its own any lines."""
    lines = (re.escape(line).replace(r"\.\.\.", ".*") for line in text.splitlines())
    return "".join(r"(?:.*\n)*?" if line == ".*" else f"{line}\n" for line in lines)


class Reader:
    """Does what a page says, in its order and in the folder where it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.patch, self.space, self.said = monkeypatch, {"__name__": "snippet"}, ""
        self.service: tuple[uvicorn.Server, threading.Thread] | None = None
        self.address = ""
        self.done: list[str] = []

    def read(self, fence: Fence) -> None:
        if fence.language in SHELL:
            self.said = "".join(self.command(words) for words in commands(fence.text))
        elif fence.language == "text":
            assert re.fullmatch(pattern(fence.text), self.said), (
                f"{fence.text}\nis not\n{self.said}"
            )
        elif fence.language == "python":
            self.python(fence.text)
        elif fence.language == "yaml":
            self.yaml(fence.text)
        else:
            assert fence.language == "xml", f"nobody knows how to check '{fence.language}'"
            assert LabelConfig.parse(fence.text).labels

    def command(self, words: list[str]) -> str:
        """What a command prints; it must succeed."""
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            self.patch.setenv(name, value)
        program, *rest = words
        self.done.append(program)
        if program == "make":
            for target in rest:
                assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
            return ""
        if program == ".":
            assert rest == [".venv/bin/activate"]
            return ""
        if program == "curl":
            return self.curl(rest)
        if program == "ray":
            assert rest[0] == "start"
            return ""
        if program == "torchrun":
            rest = rest[rest.index("tools/train.py") :]
            return self.tool("train", rest[1:])
        if program == "fsdet":
            return self.tool(rest[0], rest[1:])
        if program == ".venv/bin/pip":
            return self.module("pip", *rest)
        assert program in (".venv/bin/python", "python", "python3"), (
            f"nobody knows how to check {program}"
        )
        kind, *rest = rest
        if kind == "-c":
            return printed(lambda: exec(rest[0], {"__name__": "snippet"}))
        if kind == "-m":
            return self.module(*rest)
        assert kind.startswith("tools/") and (ROOT / kind).is_file(), kind
        return self.tool(Path(kind).stem.removesuffix("_dataset"), rest)

    def module(self, name: str, *words: str) -> str:
        if name == "pip":
            text = (ROOT / "setup.py").read_text()
            assert words[0] == "install"
            for extra in re.findall(r"\.\[(.+)\]", words[-1]):
                assert f'        "{extra}": ' in text
        elif name == "venv":
            assert len(words) == 1
        elif name == "pytest":
            files = [word for word in words if word.endswith(".py")]
            assert files and all((ROOT / file).is_file() for file in files)
        else:
            assert name == "zipfile"
            self.patch.setattr(sys, "argv", [name, *words])
            return printed(lambda: runpy.run_module(name, run_name="__main__"))
        return ""

    def tool(self, name: str, words: list[str]) -> str:
        with self.patch.context() as patch:
            # Tools import these when they run.
            patch.setattr("uvicorn.Server.run", lambda *given: self.serve(*given))
            patch.setattr("fsdet.apps.studio.page.serve", opened)
            patch.setattr("fsdet.experiment.benchmark.run.benchmark", planned)
            patch.setattr("fsdet.data.download.download.download", looked_up)
            bulk_detection.without_ray(patch)
            if name == "serve":
                words = [*words, "--port", "0"]
            elif name == "train" and "data.root=my-data" in words:
                words = [word for word in words if not word.startswith("evaluate.")] + TINY
            elif name == "train":
                patch.setattr("fsdet.experiment.run", prepared)
            elif name == "transfer":
                patch.setattr("fsdet.experiment.transfer", adapted)
            status, out, err = run(name, *words)
        assert status == 0, f"{name} {' '.join(words)}: {err}"
        return out

    def serve(self, server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        """In the place of `uvicorn.Server.run`, which does not end: the same in a thread, until the next one."""
        self.close()
        serving = threading.Thread(target=asyncio.run, args=(server.serve(sockets),))
        serving.start()
        self.service = (server, serving)
        self.address = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"

    def curl(self, words: list[str]) -> str:
        assert self.service and any("http://127.0.0.1:8000" in word for word in words)
        words = [word.replace("http://127.0.0.1:8000", self.address) for word in words]
        if not shutil.which("curl"):
            pytest.skip("curl is not installed")
        done = subprocess.run(
            ["curl", "-sS", "--fail-with-body", "--max-time", "30", *words],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{words}: {done.stdout} {done.stderr}"
        return done.stdout

    def python(self, text: str) -> None:
        try:
            code = compile(text, "snippet", "exec")
        except SyntaxError:  # a line of the table of heads
            for name, kind in eval("{" + text.strip() + "}", self.space).items():
                self.patch.setitem(build.HEADS, name, kind)
            return
        printed(partial(exec, code, self.space))

    def yaml(self, text: str) -> None:
        """A file of splits, novel stages, or the row of a method."""
        content = yaml.safe_load(text)
        if "stages" in content:
            made = [typed_yaml.part(cfg.Stage, stage) for stage in content["stages"]]
            cfg.check(cfg.Config(stages=made))
            return
        if isinstance(content, list):
            assert plan.Method(**content[0]).name in build.HEADS
            return
        file = Path("my-data/splits.yaml")
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        for name in content:
            found = splits.find(name, open_shapes("test", images=1).classes, file.parent)
            assert len(found.base) + len(found.novel) == 20

    def close(self) -> None:
        if self.service:
            server, serving = self.service
            server.should_exit = True
            serving.join(timeout=20)
            assert not serving.is_alive()
            self.service = None


def printed(does) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            does()
        except SystemExit as left:
            assert not left.code
    return out.getvalue()


def opened(studio, host, port, password, secret) -> None:
    """The studio's page, as far as it goes without a server."""
    assert studio.store.folder.is_dir() and len(secret) == 64
    assert (host == "127.0.0.1") == (password is None)
    assert studio.shelf is None or studio.folders()
    token = studio.store.begin()
    assert studio.add(token, sorted(Path("holiday").iterdir())) == []
    assert studio.view(token).project.photos


def prepared(config: cfg.Config) -> list:
    """A training, as far as it goes without one."""
    data = [open_data(config.data.root, name) for name in (config.data.train, config.data.test)]
    split = splits.find(
        config.data.split, data[0].classes, config.data.root, federated=data[0].federated
    )
    weights = config.detector.backbone.weights
    assert weights in (None, "download", "pip") or Path(weights).is_file()
    with torch.device("meta"):  # without memory, and without drawing weights
        model = build.detector(config.detector, config.head, len(split.base), pretrained=False)
        for head in (*config.baselines, *(stage.head for stage in config.stages)):
            build.head(head, model.shape, config.detector.width, len(split.base))
    return []


def adapted(detector: fsdet.Detector, config: cfg.Config) -> list:
    """A detector on other data, as far as it goes without them."""
    assert detector.names and config.evaluate.shots == [1, 5, 10]
    return []


def looked_up(archives, folder, mirror, keep, say) -> None:
    """A download, as far as it goes without a network."""
    assert archives


def planned(asked: plan.Plan) -> list:
    """A benchmark, as far as it goes without one."""
    for config in plan.configs(asked).values():
        config.head, config.baselines = (
            asked.methods[0].spec(asked.methods[0].args),
            [
                method.spec(args)
                for method in asked.methods[1:]
                for args in method.candidates(4, 0)[:1]
            ],
        )
        prepared(config)
        sys.exit(0)  # before the report
    raise AssertionError("no detector in the plan")


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """A folder with what the pages name: small pictures, data of the right layout, a tiny detector."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("tools", "configs"):
        (folder / name).symlink_to(ROOT / name)
    drawn = open_shapes("train", images=200)
    (folder / "holiday").mkdir()
    for n, name in enumerate(("a.jpg", "b.jpg", "c.jpg", "street.jpg", "holiday/1.jpg")):
        cv2.imwrite(str(folder / name), drawn.image(n)[..., ::-1])
    known = [name for name in drawn.classes if name not in SHAPES_SPLITS["shapes1"]]
    detector = detectors.empty(n_base=len(known))
    detector.remember(choose(drawn, known, 1, 0).batches(BATCH))
    for run_folder in ("quickstart", "mine", "coco"):
        detector.save(folder / "runs" / run_folder)
    detector.save(folder)
    shutil.copy(folder / "detector.safetensors", folder / "mobilenet_v2_imagenet.safetensors")

    scene = {
        "a": ((64, 300), [(name, 10 * n, 0, 10 * n + 9, 20) for n, name in enumerate(splits.VOC_CLASSES)]),
    }  # fmt: skip
    for name in ("trainval", "test"):
        write_voc(folder / "VOCdevkit" / "VOC2012", scene, name)
        write_voc(folder / "VOC0712", scene, name)
    for name in ("train2017", "val2017"):
        write_coco(folder / "coco", _coco(splits.COCO_CLASSES), name)
    for name in ("lvis_v1_train", "lvis_v1_val"):
        write_coco(folder / "coco", _lvis(), name)
    for name in ("train", "test"):
        write_coco(folder / "fod", _coco(("ant", "cat", "dog")), name)
        write_coco(folder / "DATA", None, name)
    (folder / "fod" / "splits.yaml").write_text("split1: {novel: [ant]}\nsplit2: {novel: [dog]}")

    (folder / "media").mkdir()
    shutil.copy(folder / "a.jpg", folder / "media" / "a.jpg")
    export = [
        task(1, rectangle("gear", 10, 20, 30, 40, size=(192, 192)), image="/data/upload/1/a.jpg")
    ]
    (folder / "export.json").write_text(json.dumps(export))

    project = Project((Photo("0" * 32, "a.jpg", 192, 192),))
    labels = Labels((Box("bolt", (20.0, 20.0, 90.0, 90.0)),), complete=True)
    project = project.labelled("0" * 32, labels)
    exchange.write_zip(project, "COCO", folder / "labels-coco.zip", lambda key: folder / "a.jpg")
    return folder


def _coco(classes) -> dict:
    """The scene of `folders` with its boxes under the first three of some names."""
    content = coco_content()
    known = [{"id": 3 * n, "name": name} for n, name in enumerate(classes, 1)]
    return content | {"categories": known}


def _lvis() -> dict:
    """The same with how frequent a category is, and what was looked for in an image."""
    content = coco_content()
    for category, letter in zip(content["categories"], "rcf", strict=True):
        category["frequency"] = letter
    for image in content["images"]:
        image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    return content


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of a detector of torchvision with COCO's categories, of random weights."""
    model = published.torchvision_detector("fasterrcnn_mobilenet_v3_large_320_fpn", num_classes=91)
    file = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(model.state_dict(), file)
    return file


def read_detector(weights, path, preset=None, names=None, eps=None):
    """An import of another file, as far as it goes without the file."""
    assert preset is None or preset in PRESETS
    assert names is None or isinstance(names, list) or names in LISTS
    return importer.read_detector(weights, "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn")


def read_torchvision(weights, name):
    assert name in PRESETS
    return read_detector(weights, weights)


def weights_file(weights, name):
    assert name in PRESETS
    return weights


def read_state(weights, path):
    return importer.read_state(weights)


def from_state(weights, state, path, preset=None, names=None, eps=None):
    return read_detector(weights, path, preset, names, eps)


def original_of(tensors, imported):
    """A detector that sees nothing."""
    nothing = {
        "boxes": torch.zeros(0, 4),
        "scores": torch.zeros(0),
        "labels": torch.zeros(0).long(),
    }
    return lambda pixels: nothing


@pytest.fixture
def reader(stand_ins, weights, tmp_path, monkeypatch):
    here = shutil.copytree(stand_ins, tmp_path / "here", symlinks=True)
    monkeypatch.chdir(here)
    made = Reader(monkeypatch)
    for name in ("read_detector", "read_torchvision", "weights_file", "read_state", "from_state"):
        monkeypatch.setattr(f"fsdet.importers.{name}", partial(globals()[name], weights))
    monkeypatch.setattr("fsdet.importers.comparison.original_of", original_of)
    yield made
    made.close()


@pytest.mark.parametrize(
    "page", [page for page in PAGES if fences(page)], ids=lambda page: page.name
)
def test_what_a_page_says_works(page, reader):
    if page.name != "studio.md":  # there it is what the page has made, elsewhere in the way
        Path("detector.safetensors").unlink()
    if page == README:
        write_shapes("my-data", seed=1, train=200, test=10)
    for fence in fences(page):
        try:
            reader.read(fence)
        except Exception as error:
            raise AssertionError(f"{page.name}, line {fence.line}: {error}") from error
    if page == README:
        assert "gear" in fsdet.load("gears.safetensors").names
    if page.name == "serve.md":
        assert "gear" in fsdet.load("runs/labelled.safetensors").names
        assert "widget" not in fsdet.load("detector.safetensors").names  # which was downloaded last
        assert reader.done.count("curl") == 7
    if page.name == "own-data.md":
        assert {"gear", "tee"} <= set(fsdet.load("runs/own").names)
        assert json.loads(Path("scores.json").read_text())["images"] == 40
        assert fsdet.load("runs/labelled").names.count("bolt") == 1


def test_api_reference_names_what_exists():
    directives = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert "fsdet.api.detector" in directives and all(map(resolved, directives))


def test_every_page_is_in_the_navigation_of_the_site():
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    pages = {page for entry in navigation for page in flat(entry)}
    expected = {str(page.relative_to(ROOT)) for page in PAGES} | {"CHANGELOG.md"}
    assert expected <= pages and all((ROOT / page).is_file() for page in pages)


def flat(entry) -> list[str]:
    return (
        [entry] if isinstance(entry, str) else [page for pages in entry.values() for page in pages]
    )


def results(*given: Path) -> str:
    return runpy.run_path(str(ROOT / "docs" / "make_results.py"))["page"](*given)


def table(page: str, title: str) -> list[list[str]]:
    """The cells of the table under a title, its head first."""
    lines = page.partition(f"**{title}**\n\n")[2].partition("\n\n")[0].splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines]
    assert len({line.count("|") for line in lines}) == 1 and set("".join(rows.pop(1))) <= set(":-")
    return rows


def test_the_page_of_results_is_what_its_script_makes():
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert page == results(), "python docs/make_results.py"
    with (ROOT / "docs" / "published.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({tuple(row.values()) for row in rows}) == len(rows)
    for row in rows:
        values = [row[shots] for shots in ("0", "1", "2", "3", "5", "10", "30") if row[shots]]
        assert values and all(0 < float(value.split(" ± ")[0]) < 100 for value in values)
        assert row["labels"] in "GN?" and row["backbone"] and row["seeds"] and row["source"]
        lines = [line for line in page.splitlines() if f"| {row['source']} |" in line]
        lines = [line for line in lines if line.startswith(f"| {row['method']}")]
        assert any(set(values) <= set(line.split(" | ")) for line in lines), row


def test_what_is_measured_comes_into_the_tables_of_its_protocol(tmp_path):
    """With the mean and Student's interval, from a benchmark's own table as from an extract."""
    head = "method,data,split,shots,seed,protocol,nAP50_voc07,nAP50,nAP,bAP50,bAP,nAP75\n"
    scores = {1: (20.0, 26.5, 23.0), 10: (50.0, 51.0, 55.0)}
    rows = [
        f"{method},/data/VOC0712,{split},{shots},{seed},{space},{score + more + other},9,1,2,3,\n"
        for method, more in (("cosine", 0), ("maml", 5))
        for split in ("voc1", "voc3")
        for shots, some in scores.items()
        for seed, score in enumerate(some)
        for space, other in (("all", 0), ("novel", 9))
    ]
    nothing = "cosine,/data/VOC0712,voc1,0,0,all,,,,80,50,\n"
    (tmp_path / "voc.csv").write_text(head + "".join(rows) + nothing)
    extract = (
        "method,split,shots,seed,nAP,nAP50,nAP75,bAP,bAP50\nmaml,split1,5,0,1.0,30.0,,2.0,3.0\n"
    )
    (tmp_path / "fod.csv").write_text(extract)
    page = results(tmp_path)
    for split in ("voc1", "voc3"):
        head, *_, maml, tfa = table(page, f"nAP50, {split}")
        assert [maml[0], *tfa[:4]] == ["MAML", "TFA (cosine)", "resnet101, pretrained", "G", "3"]
        for shots, some in scores.items():
            half = stats.t.ppf(0.975, 2) * stats.sem(some)
            shown = f"{np.mean(some):.1f} ± {half:.1f}"
            assert tfa[head.index(str(shots))] == shown
        assert tfa[-1] == maml[-1] == "[voc.csv](../benchmarks/voc.csv)"
    assert table(page, "nAP50, voc2")[-1][-1].startswith("not measured")
    assert table(page, "nAP50")[1] == [
        *("MAML", "mobilenet\\_v2\\_tf, pretrained", "G", "1", "30.0", "30.0"),
        "[fod.csv](../benchmarks/fod.csv)",
    ]
    (tmp_path / "unknown.csv").write_text(extract)
    with pytest.raises(InputError, match=r"unknown.csv: expected its plan, .*unknown.yaml"):
        results(tmp_path)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = urllib.parse.unquote(target).partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_are_there(page):
    text = FENCE.sub("", page.read_text())
    for name in re.findall(r"`([^`\n]+)`", text):
        if re.fullmatch(r"(fsdet|tools|tests|docs|configs|benchmarks)/[\w./-]*", name):
            assert name in MADE or (ROOT / name).exists(), name
        elif re.fullmatch(r"fsdet(\.\w+)+", name):
            assert resolved(name), name
        elif re.search(r"\.(yaml|yml|json|safetensors|state)$", name):
            continue  # a file that a run or a reader makes
        elif re.fullmatch(r"(data|train|meta|evaluate|head|detector)(\.[a-z_]+)+(=.*)?", name):
            assert is_key(name.partition("=")[0].split("."), cfg.Config()), name


def resolved(name: str) -> bool:
    """Whether a dotted name is a module or something in one."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            value = import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        return all((value := getattr(value, part, None)) is not None for part in parts[n:])
    return False


def is_key(parts: list[str], tree: object) -> bool:
    """Whether dotted words are a key of the configuration; under `head.args` any is."""
    if not parts or isinstance(tree, dict):
        return True
    if not is_dataclass(tree) or parts[0] not in {field.name for field in fields(tree)}:
        return False
    return is_key(parts[1:], getattr(tree, parts[0]))


def test_every_head_has_its_row():
    def rows(text: str) -> set[str]:
        cells = re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
        return {name for cell in cells for name in re.findall(r"`([\w-]+)`", cell)}

    assert set(build.HEADS) <= rows((ROOT / "docs" / "how-it-works.md").read_text())
    measured = (ROOT / "benchmarks" / "README.md").read_text()
    table = measured.partition("### Table of all heads\n")[2].partition("**Answer.**")[0]
    assert set(build.HEADS) == rows(table)
