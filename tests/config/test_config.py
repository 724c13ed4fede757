"""Configurations: recipes, overrides, and one-line messages for wrong values."""

from dataclasses import asdict, fields, is_dataclass
from itertools import pairwise

import pytest
import yaml
from helpers.paths import ROOT

from fsdet import config as cfg
from fsdet.config import typed_yaml
from fsdet.errors import InputError

FILES = sorted((ROOT / "configs").glob("*.yaml"))
QUICKSTART = ROOT / "configs" / "quickstart.yaml"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{last}'] * 9)}]\n" for last, name in pairwise("abcdefghij")
)
REQUIRED = {
    "data.proposals": "data.proposals=boxes.json",
    "data.root": "data.root=somewhere",
    "data.split": "data.split=voc1",
    "detector.backbone.weights": "detector.backbone.weights=some.safetensors",
}


def required_overrides(path):
    """Overrides for the required keys of a recipe."""
    try:
        cfg.load(path)
    except InputError as error:
        return [word for key, word in REQUIRED.items() if key in str(error)]
    return []


def parts(node):
    yield node
    for entry in fields(node):
        if is_dataclass(value := getattr(node, entry.name)):
            yield from parts(value)


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_recipes_load_and_survive_saving(path, tmp_path):
    words = required_overrides(path)
    config = cfg.load(path, words)
    typed_yaml.save(config, tmp_path / "config.yaml")
    assert cfg.load(tmp_path / "config.yaml") == config
    for part in (*parts(config), *config.baselines, *config.stages):
        assert typed_yaml.part(type(part), asdict(part)) == part
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == asdict(config)
    given = yaml.safe_load(path.read_text())
    assert asdict(config)["train"] == asdict(cfg.Train()) | given.get("train", {})


def test_another_head_inherits_no_arguments_of_the_file(tmp_path):
    file = tmp_path / "x.yaml"
    head = "{name: maml, args: {share: 4.0, test_steps: 5}, calibration: 0.5}"
    file.write_text(f"data: {{root: a, split: voc1}}\nhead: {head}\n")
    for words, head in (
        (["head.name=relation"], cfg.Head("relation")),
        (["head={name: relation}", "head.args.share=2.0"], cfg.Head("relation", {"share": 2.0})),
        (
            ["head.name=maml", "head.args.share=2.0"],
            cfg.Head("maml", {"share": 2.0, "test_steps": 5}, 0.5),
        ),
        (["head.args.steps=3"], cfg.Head("maml", {"share": 4.0, "test_steps": 5, "steps": 3}, 0.5)),
    ):
        assert cfg.load(file, words).head == head
    quick = ROOT / "configs" / "quickstart.yaml"
    config = cfg.load(quick, ["head.name=prototype", "head.args.scale=10"])
    assert config.head == cfg.Head("prototype", {"share": 0.3, "scale": 10})
    assert [head.name for head in config.baselines] == ["cosine"]


def test_later_files_override_earlier_ones():
    files = [ROOT / "configs" / f"{name}.yaml" for name in ("voc", "field", "defrcn")]
    config = cfg.load(files, ["data.root=a"])
    assert config.detector.gradients == [0.0, 0.75] and config.detector.backbone.name == "resnet101"
    assert [stage.name for stage in config.stages] == ["defrcn"]
    files = [ROOT / "configs" / f"{name}.yaml" for name in ("coco", "dinov2")]
    config = cfg.load(files, ["data.root=a"])
    assert config.detector.backbone.frozen_stages == 4 and config.train.steps == 110000
    assert config.detector.backbone.pyramid == "simple" and config.detector.min_size == 640


@pytest.mark.parametrize("batch", [1, 4, 16, 64])
def test_scaled_training_keeps_the_images_and_scales_the_rate_by_the_root(batch):
    given = cfg.Train(steps=1600, batch=batch, reference=16, warmup=160, drops=[800], ema=0.99)
    train, times = cfg.scaled(given), 16 / batch
    assert train.steps * train.batch == 1600 * 16 and train.warmup * train.batch == 160 * 16
    assert train.drops == [800 * times] and train.batch == batch
    assert train.learning_rate == pytest.approx(given.learning_rate * (batch / 16) ** 0.5)
    assert train.ema ** (train.steps / 1600) == pytest.approx(0.99)
    assert cfg.scaled(train) == train  # already in steps of its own batch


def test_recipes_exist():
    assert {"quickstart", "fod", "voc2012-animals"} <= {path.stem for path in FILES}


def test_overrides_win_over_files_and_later_over_earlier(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("data: {root: a, split: voc1}\ntrain: {steps: 5, batch: 3}\n")
    words = ["train.steps=6", "train.steps=7", "train.drops=[1, 2]", "data.shots=null", "run=a=b"]
    config = cfg.load(file, [*words, "head.args.scale=10", "train.learning_rate=1e-4"])
    assert (config.train.steps, config.train.batch, config.train.drops) == (7, 3, [1, 2])
    assert (config.run, config.data.shots, config.head.args) == ("a=b", None, {"scale": 10})
    assert config.train.learning_rate == 1e-4
    assert cfg.load((), ["data.root=a", "data.split=b"]).train == cfg.Train()


def test_an_override_changes_an_entry_of_a_list():
    files = [ROOT / "configs" / f"{name}.yaml" for name in ("voc", "field")]
    before, after = (
        cfg.load(files, ["data.root=a", *words])
        for words in (
            [],
            ["stages.1.batch=4", "stages.1.head.args.scale=10", "stages[0].learns.0=rpn"],
        )
    )
    assert after.stages[1].batch == 4 and after.stages[1].head == cfg.Head("linear", {"scale": 10})
    assert after.stages[0].learns == ["rpn"] and after.stages[2:] == before.stages[2:]
    assert after.stages[1].steps_a_shot == before.stages[1].steps_a_shot > 0


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("train.step=3", "no key 'train.step' in the configuration; did you mean 'train.steps'"),
        ("trian.steps=3", "no key 'trian.steps'.*did you mean 'train.steps'"),
        ("mata.steps=3", "no key 'mata.steps'.*did you mean 'meta.steps'"),
        ("steps=3", "no key 'steps'.*did you mean 'train.steps'"),
        ("train.width=3", "no key 'train.width'.*did you mean 'detector.width'"),
        ("detector.backbone.nam=small", "did you mean 'detector.backbone.name'"),
        ("evaluate.shot=[1]", "did you mean 'evaluate.shots'"),
        ("baselines=[{nam: maml}]", r"no key 'baselines\.0\.nam'.*did you mean 'baselines.0.name'"),
        ("xyzzy=3", "no key 'xyzzy' in the configuration$"),
        ("train.steps=abc", "'train.steps=abc': train.steps: expected a whole number, got 'abc'"),
        ("train.steps=1.5", "train.steps: expected a whole number, got 1.5"),
        ("train.steps={a: 1}", "train.steps: expected a whole number, got {'a': 1}"),
        ("train.steps.x=1", "train.steps: expected a whole number, got {'x': 1}"),
        ("train.steps=", "train.steps: expected a whole number, got None"),
        ("train=5", "train: expected keys and values, got 5"),
        ("train.drops=3", "train.drops: expected a list in brackets, got 3"),
        ("baselines=ridge", "baselines: expected a list in brackets, got 'ridge'"),
        (
            "baselines=[ridge]",
            r"baselines.0: expected keys and values.*did you mean {name: ridge}\?",
        ),
        ("detector.anchors=[32]", "anchors.0: expected a list in brackets, got 32"),
        (
            "stages=[{name: a, learns: boxes}]",
            "stages.0.learns: expected a list in brackets, got 'boxes'",
        ),
        (
            "stages=[{name: a, start: [x]}]",
            r"stages.0.start: expected one of means, random, novel; got \['x'\]",
        ),
        ("evaluate.shots=[[1]]", r"evaluate.shots.0: expected a whole number, got \[1\]"),
        ("detector.anchors.0.5=16", "detector.anchors.0 has 2 entries, the first is 0"),
        ("detector.anchors.x.5=16", "detector.anchors: expected a list in brackets, got {'x'"),
        ("train.drops=[1,a]", "train.drops.1: expected a whole number, got 'a'"),
        ("train.steps=true", "train.steps: expected a whole number, got True"),
        ("train.flip=1", "train.flip: expected true or false, got 1"),
        ("seed=!!int", "'seed=!!int': the value is not YAML"),
        ("seed=!!float", "the value is not YAML"),
        ("seed=!!bool x", "the value is not YAML"),
        ("head.args.a=!!binary aGk=", "expected text, numbers, true, false or null, got b'hi'"),
        ("device=cud", "device: expected one of auto, cpu, cuda; got 'cud'; did you mean 'cuda'"),
        ("train.flip=maybe", "train.flip: expected true or false, got 'maybe'"),
        ("data=null", "data: expected keys and values, got None"),
        ("head=maml", "expected keys and values, got 'maml'; did you mean {name: maml}"),
        ("head.args=3", "head.args: "),
        ("head.args=null", "head.args: "),
        ("baselines.7.name=x", "'baselines.7.name=x': baselines has 2 entries, the first is 0"),
        ("baselines.0.nam=x", r"no key 'baselines\.0\.nam'.*did you mean 'baselines.0.name'"),
        ("run=${nothing}", "interpolations such as"),
        ("run=${", "interpolations such as"),
        ("train.steps=[1", "'train.steps=.1': the value is not YAML"),
        ("train.steps", "expected key=value, as in train.steps=600; got 'train.steps'"),
        ("=3", "expected key=value.*got '=3'"),
        ("--train.steps=3", "without dashes; got '--train.steps=3'; try 'train.steps=3'"),
        ("train.steps=-1", "train.steps: expected at least 0, got -1"),
        ("train.batch=0", "train.batch: expected at least 1, got 0"),
        ("train.save_every=0", "train.save_every: expected at least 1"),
        ("train.strength=3", "train.strength: expected at most 2, got 3"),
        ("train.learning_rate=nan", "train.learning_rate: expected a finite number, got 'nan'"),
        ("meta.ways=[3]", r"meta.ways: expected \[least, most\]"),
        ("meta.shots=[5,1]", r"meta.shots: expected \[least, most\]"),
        ("meta.chimeras=1.5", "meta.chimeras: expected at most 1"),
        ("seed=-1", "seed: expected at least 0"),
        ("devices=0", "devices: expected at least 1"),
        ("device=gpu", "device: expected one of auto, cpu, cuda; got 'gpu'"),
        ("precision=fp16", "precision: expected one of auto, 32-true, bf16-mixed"),
        ("evaluate.shots=[]", "evaluate.shots: expected a list that is not empty"),
        ("evaluate.shots=[0]", "evaluate.shots.0: expected at least 1, got 0"),
        ("detector.min_size=8", "detector.min_size: expected at least 32"),
        ("detector.backbone.levels=[0,4]", "levels.1: expected one of 0, 1, 2, 3; got 4"),
        ("detector.backbone.levels=[2,1]", "levels: expected levels in ascending order, got"),
        (
            "detector.anchors=[[8],[16]]",
            "detector.anchors: expected .* each of the 3 pyramid levels",
        ),
        ("detector.anchors=[[8],[16],[3,4]]", "detector.anchors: expected as many sizes"),
        ("detector.anchors=[[],[],[]]", "detector.anchors.0: expected a list that is not empty"),
        ("detector.proposals=[5]", r"detector.proposals: expected \[in training, at test\]"),
        ("detector.std=[1,1,0]", "detector.std.2: expected at least 1e-06, got 0"),
        ("detector.std=[1,1]", "detector.std: expected three numbers"),
        (
            "baselines=[{name: ridge-maml, args: {steps: 1}}]",
            "baselines: 'ridge-maml' is there with other args",
        ),
    ],
)
def test_wrong_override_is_one_line(word, message):
    with pytest.raises(InputError, match=message) as caught:
        cfg.load(QUICKSTART, [word])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {stepz: 3}", "no key 'train.stepz'.*did you mean 'train.steps'"),
        ("trian:\n  steps: 3", "no key 'trian.steps'.*did you mean 'train.steps'"),
        ("train: {steps: many}", "x.yaml': train.steps: expected a whole number, got 'many'"),
        ("train: 3", "train: expected keys and values, got 3"),
        ("train: null", "train: expected keys and values, got None"),
        ("[" * 3000, "is not YAML.*expected at most 50 levels"),
        ("head: {name: maml, args: &a {x: *a}}", "an alias may refer to itself"),
        (BOMB, "expected at most 100000 values"),
        (BOMB + "<<: [*j, *j]", "expected at most 100000 values"),
        ("seed: !!int", "is not YAML of keys and values"),
        ("a: [1", "is not YAML of keys and values: .*line 1"),
        ("train:\n\tsteps: 3", "is not YAML of keys and values: .*line 2"),
        ("- 1\n- 2", r"expected keys and values, got \[1, 2\]"),
        ("5", "expected keys and values, got 5"),
        ("1: 2", "no key '1'"),
        ("\x00", "is not YAML of keys and values"),
        ("run: ${x}\ndata: {root: a, split: b}", "interpolations such as"),
        ("", "missing: data.root, data.split; give --config FILE or data.root=..."),
        ("data: {root: a}", "missing: data.split; give --config FILE or data.split=..."),
        ("data: {root: '???', split: a}", "missing: data.root"),
        # A key that has a default is asked for too.
        (
            "{data: {root: a, split: b}, detector: {backbone: {weights: '???'}}}",
            "missing: detector.backbone.weights; give .* detector.backbone.weights=...",
        ),
    ],
)
def test_wrong_file_is_one_line(text, message, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        cfg.load(path)
    assert "\n" not in str(caught.value)


def test_binary_file_is_refused(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe\x00run")
    with pytest.raises(InputError, match=r"x\.yaml' is not YAML"):
        cfg.load(path)


def test_missing_file_names_the_nearest():
    with pytest.raises(InputError, match=r"no configuration file '.*quikstart.yaml'; did you mean"):
        cfg.load(ROOT / "configs" / "quikstart.yaml")
    with pytest.raises(InputError, match=r"no configuration file 'nowhere/x.yaml'"):
        cfg.load("nowhere/x.yaml")
    with pytest.raises(InputError, match="no configuration file"):
        cfg.load(ROOT / "configs")


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (cfg.Head, {"nam": "maml"}, "Head: no key 'nam'"),
        (cfg.Head, {"name": ["maml"]}, "Head: name: "),
        (cfg.Head, {"name": "maml", "args": 3}, "Head: args: "),
        (
            cfg.Detector,
            {"min_size": "large"},
            "Detector: min_size: expected a whole number, got 'large'",
        ),
        (cfg.Detector, {"backbone": {"name": None}}, "Detector: backbone.name: "),
        (cfg.Detector, {"resized": 300}, "Detector: no key 'resized'"),
        (cfg.Detector, {"anchors": [1]}, "Detector: "),
        (cfg.Detector, {"backbone": {"name": "???"}}, "Detector: missing: backbone.name$"),
        (cfg.Detector, {"mean": [float("nan"), 0, 0]}, "mean.0: expected a finite number, got nan"),
        (cfg.Head, {"args": {"x": 10**400}}, "Head: expected whole numbers of 64 bits"),
        (cfg.Detector, [], "Detector: expected keys and values"),
        (cfg.Detector, None, "Detector: expected keys and values"),
        (cfg.Detector, 3, "Detector: expected keys and values"),
    ],
)
def test_part_of_another_version_is_refused(kind, values, message):
    with pytest.raises(InputError, match=message):
        typed_yaml.part(kind, values)


def test_files_and_saved_configurations_keep_numbers_and_text(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(
        "{data: {root: 2012-01-01, split: 7}, train: {learning_rate: 1e-4}, head: {args: {a: 2E3}}}"
    )
    config = cfg.load(file, ["run='1e-4'"])
    assert (config.data.root, config.data.split, config.run) == ("2012-01-01", "7", "1e-4")
    assert config.train.learning_rate == 1e-4 and config.head.args == {"a": 2000.0}
    typed_yaml.save(config, file)
    assert cfg.load(file) == config


def test_messages_name_the_source_that_set_the_wrong_value(tmp_path):
    for name, steps in (("a", -1), ("b", -2)):
        (tmp_path / f"{name}.yaml").write_text(f"train: {{steps: {steps}}}")
    files = [QUICKSTART, tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for words, source in (
        (["train.batch=2"], r"b.yaml': train.steps: expected at least 0, got -2"),
        (["train.steps=-3", "seed=1"], "^'train.steps=-3': train.steps"),
        (
            ["train.steps=3", "stages=[{name: a}, {name: b}]", "stages.1.batch=0"],
            "^'stages.1.batch=0'",
        ),
    ):
        with pytest.raises(InputError, match=source):
            cfg.load(files, words)


def test_absent_keys_of_a_part_have_defaults():
    assert typed_yaml.part(cfg.Head, {"name": "cosine"}) == cfg.Head("cosine")
    assert typed_yaml.part(cfg.Train, {}) == cfg.Train()


def test_head_may_be_a_baseline_with_equal_arguments():
    words = ["data.root=a", "data.split=b", "baselines=[{name: ridge-maml}]"]
    assert cfg.load((), words).head in cfg.load((), words).baselines
    with pytest.raises(InputError, match="'ridge-maml' is there with other args"):
        cfg.load((), [*words, "head.args.scale=10"])


@pytest.mark.parametrize("value", ["${oc.env:FSDET_SECRET}", "a-${data.root}", "${oc.decode:'3'}"])
def test_interpolations_are_refused_in_files_overrides_and_parts(value, tmp_path, monkeypatch):
    monkeypatch.setenv("FSDET_SECRET", "s3cr3t")
    file = tmp_path / "mine.yaml"
    for text in (
        f'run: "{value}"',
        f'baselines: [{{name: cosine, args: {{a: "{value}"}}}}]',
        f'head: {{args: {{a: !!omap [b: "{value}"]}}}}',
        f'head: {{args: {{a: !!pairs [b: "{value}"]}}}}',
    ):
        file.write_text(text)
        with pytest.raises(InputError, match="interpolations") as refused:
            cfg.load([QUICKSTART, file])
        assert "s3cr3t" not in str(refused.value) and str(file) in str(refused.value)
    for word in (f"run={value}", f'head.args.a=!!omap [b: "{value}"]'):
        with pytest.raises(InputError, match="interpolations") as refused:
            cfg.load(QUICKSTART, [word])
        assert "s3cr3t" not in str(refused.value)
    with pytest.raises(InputError, match="interpolations") as refused:
        typed_yaml.part(cfg.Head, {"name": "maml", "args": {"steps": value}})
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["2024_05_01", "runs/test #2", "010", "1e3", "12:30", "no", "0x1F", "a: b"]
)
def test_a_word_for_a_text_is_that_text(text):
    assert cfg.load(ROOT / "configs/quickstart.yaml", [f"run={text}"]).run == text
    assert cfg.load(ROOT / "configs/quickstart.yaml", [f"data.train={text}"]).data.train == text


def test_quotes_and_null_keep_their_meaning():
    config = cfg.load(ROOT / "configs/quickstart.yaml", ["run='a b'", "data.shots=null"])
    assert config.run == "a b" and config.data.shots is None


def test_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert cfg.load(ROOT / "configs/quickstart.yaml", ["data.root=~/x"]).data.root == "/home/me/x"
