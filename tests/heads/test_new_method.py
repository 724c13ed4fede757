"""The example of docs/new-method.md, as printed: contract, formula and row of the benchmark."""

import re
import sys

import pytest
import torch
import yaml
from helpers import head_contract as contract
from helpers.detectors import empty
from helpers.heads import build_head, double, regions
from helpers.paths import ROOT
from torch.nn import functional as F

import fsdet
from fsdet import InputError, build
from fsdet.experiment.benchmark.plan import Method

GUIDE = ROOT / "docs" / "new-method.md"


@pytest.fixture
def gaussian(monkeypatch):
    """The head of the guide, in the table of heads."""
    (code,) = re.findall(r"```python\n(\"\"\".*?)```", GUIDE.read_text(), re.DOTALL)
    namespace = {"__name__": "gaussian"}
    exec(compile(code, str(GUIDE), "exec"), namespace)
    monkeypatch.setitem(build.HEADS, "gaussian", namespace["Gaussian"])
    return "gaussian"


def test_example_meets_the_contract(gaussian):
    contract.learns_any_number_of_categories_and_keeps_its_state(gaussian, 2)
    contract.does_not_depend_on_label_names(gaussian)
    contract.depends_on_support_order_only_if_it_reads_in_order(gaussian)
    contract.agrees_in_bf16_autocast(gaussian)
    contract.meta_training_generalises_to_new_categories(gaussian)


def test_rows_are_means_weighted_by_trust(gaussian):
    head = build_head(gaussian).double()
    support, query = double(regions(noise=1.0)), double(regions(seed=1))
    torch.nn.init.normal_(head.trust.weight)
    z, z_query = (head.class_embeddings(head.embed(r.features)) for r in (support, query))
    trust = torch.exp(z @ head.trust.weight[0])
    assert trust.max() > 1.2 * trust.min()
    logits = head.logits(z_query, head.adapt(support))
    for c in (1, 2, 3):
        of_class = support.labels == c
        row = (trust[of_class, None] * z[of_class]).sum(0) / trust[of_class].sum()
        expected = head.log_scale.exp() * F.cosine_similarity(z_query, row[None])
        assert torch.allclose(logits[:, c], expected)


def test_row_of_the_guide_is_a_method_of_the_benchmark(gaussian):
    (row,) = re.findall(r"```yaml\n  - (.*?)```", GUIDE.read_text(), re.DOTALL)
    method = Method(**yaml.safe_load(row))
    assert method.name == gaussian and len(method.candidates(4, 0)) == 4


PACKAGE = '''
from fsdet.heads.metric.prototype import Prototype


class Mine(Prototype):
    """A head of another package."""


NO_HEAD = 3
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "my_heads.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_heads"
    sys.modules.pop("my_heads", None)


def test_a_head_of_another_package_by_its_import_path(package, tmp_path):
    detector = empty("my_heads:Mine", share=4.0)
    assert type(detector.model.head).__name__ == "Mine"
    path = detector.save(tmp_path / "d.safetensors")
    assert type(fsdet.load(path).model.head).__name__ == "Mine"
    del sys.modules["my_heads"]
    with pytest.raises(InputError, match="its head is 'my_heads:Mine'; import 'my_heads' before"):
        fsdet.load(path)
    assert "my_heads" not in sys.modules  # a file does not make us import code


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_heads:Other", "has no attribute 'Other'"),
        ("no_such_package:Mine", "No module named 'no_such_package'"),
        ("my_heads:NO_HEAD", "expected a class of fsdet.heads.base.Head, got 3"),
        (":Mine", "cannot be imported"),
        ("prototpye", "no head 'prototpye'; did you mean 'prototype'"),
    ],
)
def test_a_wrong_import_path_is_one_line(package, name, message):
    with pytest.raises(InputError, match=message):
        empty(name)
