"""Prototypes: against their formulas."""

import torch
from helpers.heads import build_head, regions
from torch.nn import functional as F


def test_prototype_logits_are_cosines_to_class_means():
    head, support = build_head("prototype"), regions()
    logits = head(support.features, head.adapt(support)).logits
    pyramid = F.normalize(support.features.maps.mean((2, 3)), dim=-1)
    means = F.normalize(torch.cat([pyramid, support.features.means], 1), dim=-1)
    share = head.log_share.exp()
    z = torch.cat([means, share * F.normalize(head.trunk(support.features), dim=-1)], 1)
    for c in (1, 2, 3):
        mean = z[support.labels == c].mean(0)
        expected = head.log_scale.exp() * F.cosine_similarity(z, mean[None])
        assert torch.allclose(logits[:, c], expected, atol=1e-4)


def test_euclidean_logits_are_squared_distances_to_class_means():
    head, support = build_head("euclidean"), regions()
    embeddings = head.class_embeddings(head.embed(support.features))
    means = torch.stack([embeddings[support.labels == c].mean(0) for c in range(4)])
    logits = head(support.features, head.adapt(support)).logits[:, 1:]
    expected = -head.log_scale.exp() / 2 * torch.cdist(embeddings, means)[:, 1:].square()
    # The softmax ignores a constant per region.
    shift = (logits - expected).mean(1, keepdim=True)
    assert torch.allclose(logits - shift, expected, atol=1e-4)
