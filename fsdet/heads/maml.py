"""The box head moved by gradient steps that it was meta-trained to profit from."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.base import (
    Head,
    balanced_weights,
    box_regressor,
    class_means,
    region_losses,
    scaled_cosine,
)
from fsdet.types import Prediction, Regions, Task


class Maml(Head):
    """Finn et al. 2017 (MAML) with rows that start from prototypes (Triantafillou et al. 2020, Proto-MAML)
    and learned step sizes, one for every tensor and step (Antoniou et al. 2019).

    theta_{j+1} = theta_j - a_j * dL(support; theta_j) / dtheta_j, where theta is the region embedding (fc7),
    the class rows and the box regressor, and L the balanced cross-entropy plus the box loss. In training mode
    the outer gradient passes through the inner one (`second_order`), or does not.

    The regressor looks at regions through a layer of its own: box losses and class losses pull an embedding
    apart when a few boxes are all there is.

    Args:
        in_features: C * P * P of a pooled region.
        width: D, of both fully connected layers.
        steps: inner steps.
        step_size: where the learned step sizes start.
        scale: of the cosine, learned from there on.
        background: the share of background in the inner loss.
        second_order: whether meta-training differentiates through the inner gradients.
    """

    def __init__(
        self,
        in_features: int,
        width: int = 1024,
        steps: int = 5,
        step_size: float = 0.1,
        scale: float = 20.0,
        background: float = 0.5,
        second_order: bool = True,
    ):
        super().__init__()
        self.first = nn.Sequential(nn.Flatten(), nn.Linear(in_features, width), nn.ReLU())
        self.embedding = nn.Linear(width, width)
        self.box_embedding = nn.Linear(width, width)
        self.regressor = box_regressor(width)
        self.log_scale = nn.Parameter(torch.tensor(scale).log())
        self.log_steps = nn.ParameterDict(
            {name: torch.full((steps,), step_size).log() for name in self._MOVED}
        )
        self.steps, self.background, self.second_order = steps, background, second_order

    _MOVED = ("rows", "embedding_weight", "embedding_bias", "regressor_weight", "regressor_bias")

    def embed(self, features: Tensor) -> Tensor:
        return self.first(features)

    def predict(self, embeddings: Tensor, task: Task) -> Prediction:
        z = F.relu(F.linear(embeddings, task["embedding_weight"], task["embedding_bias"]))
        boxes = F.relu(self.box_embedding(embeddings))
        return Prediction(
            scaled_cosine(z, task["rows"], self.log_scale.exp()),
            F.linear(boxes, task["regressor_weight"], task["regressor_bias"]),
        )

    def start(self, embeddings: Tensor, support: Regions) -> Task:
        """The task before the first step: the meta-learned weights, and the class means as rows."""
        z = F.normalize(F.relu(self.embedding(embeddings)), dim=-1)
        return {
            "rows": F.normalize(class_means(z, support.labels, support.n_way), dim=-1),
            "embedding_weight": self.embedding.weight,
            "embedding_bias": self.embedding.bias,
            "regressor_weight": self.regressor.weight,
            "regressor_bias": self.regressor.bias,
        }

    def adapt(self, support: Regions) -> Task:
        weights = balanced_weights(support.labels, support.n_way, self.background)
        with torch.enable_grad():
            embeddings = self.embed(support.features)
            task = self.start(embeddings, support)
            for step in range(self.steps):
                prediction = self.predict(embeddings, task)
                loss = weights @ F.cross_entropy(
                    prediction.logits, support.labels, reduction="none"
                )
                loss = loss + region_losses(prediction, support.labels, support.deltas)["loss_box"]
                gradients = torch.autograd.grad(
                    loss, list(task.values()), create_graph=self.training and self.second_order
                )
                task = {
                    name: value - self.log_steps[name][step].exp() * gradient
                    for (name, value), gradient in zip(task.items(), gradients, strict=True)
                }
        return task if self.training else {name: value.detach() for name, value in task.items()}
