"""The class losses as plain loops over regions and classes, in Python floats, written from the papers' equations.

``logits`` are rows of floats, ``labels`` whole numbers with 0 for background. What the papers hold constant (scores
within the compensation factor, accumulated gradients) is an argument of its own, so that differences of an oracle are
gradients of the loss.
"""

from __future__ import annotations

import math

Rows = list[list[float]]


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(z) for z in row)
    return [math.exp(z) / total for z in row]


def bce(p: float, y: float) -> float:
    return -(y * math.log(p) if y else 0.0) - ((1 - y) * math.log(1 - p) if y < 1 else 0.0)


def seesaw_row(row: list[float], i: int, seen: list[int], held: list[float], p: float, q: float, eps: float) -> float:
    """-log of the equalized probability of class ``i`` in a row of logits; ``held`` gives the scores of C_ij."""
    scores = softmax(held)
    total = math.exp(row[i])
    for j, z in enumerate(row):
        if j == i:
            continue
        n_i, n_j = max(1, seen[i]), max(1, seen[j])
        mitigation = (n_j / n_i) ** p if n_j < n_i else 1.0
        ratio = scores[j] / max(scores[i], eps)
        compensation = ratio**q if ratio > 1 else 1.0
        total += mitigation * compensation * math.exp(z)
    return -math.log(math.exp(row[i]) / total)


def seesaw(logits: Rows, labels: list[int], seen: list[int], held: Rows, p=0.8, q=2.0, eps=0.01, objectness=True):
    """``seen`` counts labels 0..C, those at hand included."""
    total = 0.0
    for row, label, constant in zip(logits, labels, held, strict=True):
        if not objectness:
            total += seesaw_row(row, label, seen, constant, p, q, eps)
            continue
        total -= math.log(softmax(row[:2])[1 if label else 0])
        if label:
            total += seesaw_row(row[2:], label - 1, seen[1:], constant[2:], p, q, eps)
    return total / len(logits)


def eql(logits: Rows, labels: list[int], frequency: list[float], threshold: float) -> float:
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        for j, z in enumerate(row):
            y = 1.0 if label == j + 1 else 0.0
            weight = 1 - (1 if label else 0) * (1 if frequency[j] < threshold else 0) * (1 - y)
            total += weight * bce(sigmoid(z), y)
    return total / len(logits)


def eqlv2(logits: Rows, labels: list[int], positive: list[float], negative: list[float], gamma, mu, alpha, background):
    """The loss, and what it adds to the sums of positive and of negative gradients."""
    classes = len(positive)
    total, more, less = 0.0, [0.0] * classes, [0.0] * classes
    for row, label in zip(logits, labels, strict=True):
        if background:
            total += bce(sigmoid(row[0]), 0.0 if label else 1.0)
        for j, z in enumerate(row[1:] if background else row):
            ratio = positive[j] / negative[j] if negative[j] else 100.0
            f = 1 / (1 + math.exp(-gamma * (ratio - mu)))
            if label == j + 1:
                weight = 1 + alpha * (1 - f)
                more[j] += weight * (1 - sigmoid(z))
                total += weight * bce(sigmoid(z), 1.0)
            else:
                less[j] += f * sigmoid(z)
                total += f * bce(sigmoid(z), 0.0)
    return total / len(logits), more, less


def bags(logits: Rows, labels: list[int], group: list[int], groups: int) -> float:
    """Where all "others" are learnt from."""
    loss = -sum(math.log(softmax(row[:2])[1 if label else 0]) for row, label in zip(logits, labels, strict=True))
    loss /= len(logits)
    for g in range(groups):
        members = [c for c in range(len(group)) if group[c] == g]
        if not any(label and group[label - 1] == g for label in labels):
            continue
        total = 0.0
        for row, label in zip(logits, labels, strict=True):
            p = softmax([row[2 + g], *(row[2 + groups + c] for c in members)])
            place = 1 + members.index(label - 1) if label - 1 in members else 0
            total -= math.log(p[place])
        loss += total / len(logits)
    return loss


def federated(logits: Rows, labels: list[int], chosen: set[int]) -> float:
    """``chosen`` are labels."""
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        total += sum(bce(sigmoid(z), 1.0 if label == j + 1 else 0.0) for j, z in enumerate(row) if j + 1 in chosen)
    return total / len(logits)


def focus(positive: list[float], negative: list[float], gamma: float, scale: float) -> list[float]:
    ratios = [min(1.0, p / n) if n else 1.0 for p, n in zip(positive, negative, strict=True)]
    return [gamma + scale * (1 - g) for g in ratios]


def efl(logits: Rows, labels: list[int], factors: list[float], gamma: float, alpha: float) -> float:
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        for j, z in enumerate(row):
            p_t, weight = (sigmoid(z), alpha) if label == j + 1 else (1 - sigmoid(z), 1 - alpha)
            total -= weight * factors[j] / gamma * (1 - p_t) ** factors[j] * math.log(p_t)
    return total / max(1, sum(1 for label in labels if label))


def eqfl(logits: Rows, labels: list[int], quality: list[float], factors: list[float], gamma: float) -> float:
    total = 0.0
    for row, label, overlap in zip(logits, labels, quality, strict=True):
        for j, z in enumerate(row):
            y, p = overlap if label == j + 1 else 0.0, sigmoid(z)
            total += factors[j] / gamma * abs(y - p) ** factors[j] * bce(p, y)
    return total / max(1, sum(1 for label in labels if label))
