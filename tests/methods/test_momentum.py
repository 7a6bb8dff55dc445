"""The slow copy and the queue of keys, against the plain rules."""

import pytest
import torch
from torch import nn

from clis_core.methods.momentum import KeyQueue, MomentumCopy


def test_the_copy_follows_slowly_and_is_never_trained() -> None:
    torch.manual_seed(0)
    live = nn.Linear(3, 2)
    copy = MomentumCopy(live, 0.9)
    expected = [p.detach().clone() for p in live.parameters()]
    for _ in range(4):
        with torch.no_grad():
            for p in live.parameters():
                p.add_(1.0)
        copy.follow(live)
        expected = [0.9 * e + 0.1 * p.detach() for e, p in zip(expected, live.parameters(), strict=True)]
    for e, p in zip(expected, copy.parameters(), strict=True):
        torch.testing.assert_close(p, e)
    assert not any(p.requires_grad for p in copy.parameters())
    assert not copy(torch.ones(1, 3, requires_grad=True)).requires_grad


@pytest.mark.parametrize("sizes", [[3, 3, 3, 3], [5, 0, 7, 1], [16, 2], [1] * 20])
def test_the_queue_holds_the_newest_keys(sizes: list[int]) -> None:
    torch.manual_seed(0)
    queue = KeyQueue(7, 4)
    pushed: list[tuple[torch.Tensor, int]] = []
    for size in sizes:
        keys, labels = torch.randn(size, 4), torch.randint(1, 9, (size,))
        queue.push(keys, labels)
        pushed += list(zip(keys, labels.tolist(), strict=True))
        held, held_labels = queue.held()
        newest = pushed[-7:]
        assert len(held) == len(newest)
        as_pairs = {(tuple(k.tolist()), n) for k, n in zip(held, held_labels.tolist(), strict=True)}
        assert as_pairs == {(tuple(k.tolist()), n) for k, n in newest}


def test_the_oldest_keys_go_first() -> None:
    queue = KeyQueue(4, 1)
    for n in range(1, 7):
        queue.push(torch.tensor([[float(n)]]), torch.tensor([n]))
    assert sorted(queue.held()[1].tolist()) == [3, 4, 5, 6]
    assert int(queue.pointer) == 2


def test_the_queue_is_saved_whole() -> None:
    torch.manual_seed(0)
    one, other = KeyQueue(5, 2), KeyQueue(5, 2)
    one.push(torch.randn(7, 2), torch.arange(7))
    other.load_state_dict(one.state_dict())
    for queue in (one, other):
        queue.push(torch.ones(2, 2), torch.tensor([8, 9]))
    for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_what_is_pushed_carries_no_gradient() -> None:
    queue = KeyQueue(5, 2)
    queue.push(torch.ones(2, 2, requires_grad=True) * 2, torch.tensor([1, 2]))
    assert not queue.keys.requires_grad
