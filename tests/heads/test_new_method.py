"""The guide's example works as it is printed."""

import re

import pytest
import torch
import yaml
from heads import test_contract as test_heads
from helpers.heads import made, regions
from helpers.paths import ROOT
from torch.nn import functional as F

from fsdet import build
from fsdet.experiment.benchmark.plan import Method

GUIDE = ROOT / "docs" / "new-method.md"


@pytest.fixture
def gaussian(monkeypatch):
    """The head of the guide, in the table of heads."""
    (code,) = re.findall(r"```python\n(\"\"\".*?)```", GUIDE.read_text(), re.DOTALL)
    space = {"__name__": "gaussian"}
    exec(compile(code, str(GUIDE), "exec"), space)
    monkeypatch.setitem(build.HEADS, "gaussian", space["Gaussian"])
    return "gaussian"


def test_it_passes_what_every_head_must(gaussian):
    test_heads.test_any_number_of_categories_and_the_state_stays_as_it_is(gaussian, 2)
    test_heads.test_names_of_labels_do_not_matter(gaussian)
    test_heads.test_order_of_the_support_matters_to_those_that_read_it_as_a_sequence_alone(gaussian)
    test_heads.test_half_the_digits_say_nearly_the_same(gaussian)
    test_heads.test_it_learns_to_learn_new_categories(gaussian)


def test_rows_are_means_of_trusted_regions(gaussian):
    head, support, query = made(gaussian).double(), regions(spread=1.0), regions(seed=1)
    torch.nn.init.normal_(head.trust.weight)
    z, asked = (head.describe(head.embed(r.features.to(torch.float64))) for r in (support, query))
    trust = torch.exp(z @ head.trust.weight[0])
    assert trust.max() > 1.2 * trust.min()
    for c in (1, 2, 3):
        mine = support.labels == c
        row = (trust[mine, None] * z[mine]).sum(0) / trust[mine].sum()
        expected = head.log_scale.exp() * F.cosine_similarity(asked, row[None])
        task = head.adapt(
            type(support)(
                support.features.to(torch.float64), support.labels, support.deltas.double(), 3
            )
        )
        assert torch.allclose(head.logits(asked, task)[:, c], expected)


def test_its_row_is_a_method_of_the_benchmark(gaussian):
    (row,) = re.findall(r"```yaml\n  - (.*?)```", GUIDE.read_text(), re.DOTALL)
    method = Method(**yaml.safe_load(row))
    assert method.name == gaussian and len(method.candidates(4, 0)) == 4
