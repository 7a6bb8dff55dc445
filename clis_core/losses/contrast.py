"""Two views of the same instances and a queue of others in, the contrastive loss of CLIS out (eq. 1).

P pairs, K keys in the queue, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clis_core.losses.ranks import rows_of, share


def contrastive_loss(
    image_view: Tensor, scene_view: Tensor, queue: Tensor, tau: float, allowed: Tensor | None = None
) -> Tensor:
    """L_con = -log( exp(f_i f_d / tau) / (exp(f_i f_d / tau) + sum over Q of exp(f_i q / tau)) ), mean over the
    pairs of all processes. Collective under torchrun.

    Computed in float32 by log-sum-exp: at tau = 0.2 the exponents reach 5, at smaller tau they would overflow fp16.

    Args:
        image_view: f_i, ``[P, D]``, of length 1.
        scene_view: f_d, ``[P, D]``, of length 1.
        queue: Q, ``[K, D]``, of length 1; K may be 0, and the loss is then 0.
        tau: temperature.
        allowed: bool ``[P, K]``, which keys are negatives of which pair; None allows all.

    Returns:
        A scalar attached to both views; 0 where there are no pairs.
    """
    pairs = share(rows_of(image_view))
    if not len(image_view):
        return (image_view.sum() + scene_view.sum()).float() * 0.0
    with torch.autocast(image_view.device.type, enabled=False):
        f_i, f_d = image_view.float(), scene_view.float()
        positive = (f_i * f_d).sum(dim=1, keepdim=True) / tau  # [P, 1]
        negative = f_i @ queue.float().T / tau  # [P, K]
        if allowed is not None:
            negative = negative.masked_fill(~allowed, float("-inf"))
        loss = torch.logsumexp(torch.cat((positive, negative), dim=1), dim=1) - positive[:, 0]  # [P]
        return loss.sum() / pairs
