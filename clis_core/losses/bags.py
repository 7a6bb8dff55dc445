"""Class logits and labels in, the balanced group softmax out.

N regions, C classes, G groups of classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clis_core.config.class_loss import BagsLoss
from clis_core.losses.counts import ClassCounts, KnownCounts, unknown
from clis_core.losses.ranks import gathered, rows_of, share, world_size


class BalancedGroupSoftmax(nn.Module):
    """Overcoming Classifier Imbalance with Balanced Group Softmax (Li et al., CVPR 2020, arXiv 2006.10408).

    Classes are grouped by their number of training boxes, each group has a softmax of its own with one more logit,
    "others", and group 0 is background and object. L = sum over the groups of the cross entropy in each. A
    region of no class of a group, background included, is one of its "others"; of these only ``others`` times as many
    are learnt from, drawn at random, as there are regions of its classes, and none where there are no such. A class's
    score is its probability in its group times the object's in group 0.

    Columns: background, object, the others of groups 1..G, the C classes.

    Under a head with an objectness output of its own (CLIS), a score is multiplied by both; group 0 stays, for the
    groups cannot tell background from each other's classes.

    The groups come from the training data when the loss is built, and are in the checkpoint; nothing else is
    remembered. Pictures of CLIS are objects in group 0, of their class in its group, and of the others elsewhere.

    Args:
        config: the bounds of the groups.
        num_classes: C.
        counts: of the training data; None where a checkpoint's state follows.
    """

    group: Tensor

    def __init__(self, config: BagsLoss, num_classes: int, counts: ClassCounts | None) -> None:
        super().__init__()
        self.config = config
        self.groups = len(config.bounds) + 1
        self.num_logits = 2 + self.groups + num_classes
        group = unknown(num_classes)
        if counts:
            group = torch.bucketize(counts.boxes, torch.tensor(config.bounds), right=True)
        self.register_buffer("group", group)  # int64 [C], 0..G - 1
        self._check = KnownCounts(config.kind)

    def forward(self, logits: Tensor, labels: Tensor, *, count: bool = True) -> Tensor:
        """The loss of ``[N, num_logits]`` logits and int64 ``[N]`` labels (0 is background).

        Collective under torchrun: what is drawn is drawn from the regions of all processes, which all draw alike.

        Raises:
            ConfigError: it was built without counts.
        """
        self._check(self.group)
        with torch.autocast(logits.device.type, enabled=False):
            z = logits.float()
            objects = F.cross_entropy(z[:, :2], (labels > 0).long(), reduction="sum") / share(rows_of(labels))
            norms = self._norms(z)  # [N, G]
            others, classes = z[:, 2 : 2 + self.groups], z[:, 2 + self.groups :]
            of_group = F.one_hot(self.group[labels - 1], self.groups).bool() & (labels > 0)[:, None]  # [N, G]
            own = classes.gather(1, (labels - 1).clamp(min=0)[:, None])  # [N, 1]
            entropy = norms - torch.where(of_group, own, others)
            return objects + (entropy * self._weights(of_group)).sum()

    @torch.no_grad()
    def _weights(self, of_group: Tensor) -> Tensor:
        """What each region's cross entropy counts in each group, ``[N, G]``: they sum to 1, or to 0 in a group without.

        Args:
            of_group: bool ``[N, G]``, whether a region's class is of a group.
        """
        everywhere, mine = gathered(of_group.byte())  # uint8, for gloo knows no bool
        of_all = everywhere.bool()  # [N of all processes, G]
        classes = everywhere.sum(0)
        others = len(everywhere) - classes
        drawn = torch.minimum((self.config.others * classes).floor(), others)
        # All processes have the same state of random numbers (training.step) and so the same order.
        order = torch.rand(of_all.shape, device=of_all.device).masked_fill(of_all, 2.0).argsort(0).argsort(0)
        chosen = (of_all | (order < drawn)) & (classes > 0)
        weight: Tensor = chosen * world_size() / (classes + drawn).clamp(min=1)
        return weight[mine]

    def _norms(self, z: Tensor) -> Tensor:
        """The logarithm of the sum of the exponentials of each group's logits, ``[N, G]``."""
        classes = z[:, 2 + self.groups :]
        norms = []
        for g in range(self.groups):
            inside = classes.masked_fill(self.group != g, float("-inf"))
            norms.append(torch.logsumexp(torch.cat((z[:, 2 + g : 3 + g], inside), dim=1), dim=1))
        return torch.stack(norms, dim=1)

    def scores(self, logits: Tensor) -> Tensor:
        """``[N, num_logits]`` logits to scores ``[N, C]`` of the classes 1..C."""
        z = logits.float()
        inside = (z[:, 2 + self.groups :] - self._norms(z)[:, self.group]).exp()
        return inside * z[:, :2].softmax(dim=1)[:, 1:]

    def first_bias(self) -> Tensor:
        """Zeros ``[num_logits]``."""
        return torch.zeros(self.num_logits)
