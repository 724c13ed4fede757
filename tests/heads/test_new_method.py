"""The example of docs/new-method.md, as printed: contract, formula and row of the benchmark."""

import re

import pytest
import torch
import yaml
from helpers import head_contract as contract
from helpers.heads import build_head, double, regions
from helpers.paths import ROOT
from torch.nn import functional as F

from fsdet import build
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
