"""Prototypical calibration against its formula."""

import torch
from helpers.heads import build_head, regions
from torch.nn import functional as F

from fsdet.heads.layers import mean_features
from fsdet.types import Prediction


def test_calibration_mixes_scores_with_cosines_of_mean_features():
    support, query = regions(), regions(seed=1)
    inner, calibrated = build_head("cosine"), build_head("cosine", calibration=0.25)
    calibrated.inner.load_state_dict(inner.state_dict())
    scores = inner(query.features, inner.adapt(support)).probabilities()
    z, s = mean_features(query.features), mean_features(support.features)
    prototypes = torch.stack([s[support.labels == c].mean(0) for c in (1, 2, 3)])
    cosines = F.cosine_similarity(z[:, None], prototypes[None], dim=-1)
    expected = torch.where(scores > 0.05, 0.75 * scores + 0.25 * cosines, scores)
    prediction = calibrated(query.features, calibrated.adapt(support))
    assert torch.allclose(prediction.probabilities(), expected, atol=1e-5)
    twice = Prediction.cat([prediction, prediction])
    assert torch.equal(twice.scores, torch.cat([prediction.scores] * 2))
