"""A logistic head in PyTorch, and the gradient of one: examples of both, and for use as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .trainer import Batch, Here

_SPARSE = 1 << 32


def _tensor(torch: Any, array: npt.NDArray[Any]) -> Any:
    """Through the buffer, so that any release of numpy goes with any of PyTorch."""
    kind = getattr(torch, array.dtype.name)
    if array.size == 0:
        return torch.zeros(array.shape, dtype=kind)
    return torch.frombuffer(bytearray(array.tobytes()), dtype=kind).reshape(array.shape)


def _weights(batch: Batch, p: Any, tensor: Any) -> Any:
    """What each example counts: with fnw by its label and the prediction, which is held still."""
    labels, is_fnw = tensor(batch.labels), tensor(batch.is_fnw.astype(np.float64))
    fnw = labels * (1 + p) + (1 - labels) * (1 - p * p)
    return tensor(batch.weights) * (is_fnw * fnw + (1 - is_fnw))


class TorchHead:
    """logit = intercept + Σ dense weights + Σ sparse weights, trained by Adagrad.

    sparse_bits    the model's `bits`: a weight for each coordinate, 4 bytes and as much again for the optimiser
    negatives      the task's: the share of negatives that are kept, for which the logit is corrected
    """

    def __init__(
        self, dense: int, sparse_bits: int = 22, *, rate: float = 0.1, negatives: float = 1.0, epochs: int = 1
    ) -> None:
        import torch

        self._torch: Any = torch
        self._fixed: Any = torch.zeros(1 + dense, requires_grad=True)
        self._table: Any = torch.nn.Embedding(1 << sparse_bits, 1, sparse=True)
        torch.nn.init.zeros_(self._table.weight)
        self._optimiser: Any = torch.optim.Adagrad([self._fixed, self._table.weight], lr=rate)
        self._log_rate, self._epochs = float(np.log(negatives)), epochs
        self._touched: set[int] = set()

    def _tensor(self, array: npt.NDArray[Any]) -> Any:
        return _tensor(self._torch, array.astype(np.float32) if array.dtype.kind == "f" else array)

    def _logits(self, batch: Batch) -> Any:
        dense = self._tensor(batch.dense)
        places = self._tensor((batch.sparse - np.uint64(_SPARSE)).astype(np.int64))
        return self._fixed[0] + dense @ self._fixed[1:] + self._table(places).sum(dim=(1, 2))

    def learn(self, batch: Batch) -> None:
        torch = self._torch
        labels = self._tensor(batch.labels)
        for _ in range(self._epochs):
            logits = self._logits(batch)
            weight = _weights(batch, torch.sigmoid(logits.detach()), self._tensor)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logits - self._log_rate, labels, weight, reduction="mean"
            )
            self._optimiser.zero_grad()
            loss.backward()
            self._optimiser.step()
        self._touched.update(int(one) for one in np.unique(batch.sparse))

    def probabilities(self, batch: Batch) -> npt.NDArray[np.float64]:
        with self._torch.no_grad():
            return np.array(self._torch.sigmoid(self._logits(batch)).tolist())

    def column(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float32]]:
        coordinates = sorted(self._touched)
        self._touched.clear()
        places = self._torch.tensor([one - _SPARSE for one in coordinates], dtype=self._torch.int64)
        with self._torch.no_grad():
            weights = [*self._fixed.tolist(), *self._table(places).reshape(-1).tolist()]
        return np.array([*range(len(self._fixed)), *coordinates], np.uint64), np.array(weights, np.float32)


class TorchGradients:
    """The gradient of the logistic loss at the node's own weights, by autograd; the node's optimiser takes the step.

    negatives      as of TorchHead
    """

    def __init__(self, *, negatives: float = 1.0) -> None:
        import torch

        self._torch: Any = torch
        self._log_rate = float(np.log(negatives))

    def gradients(self, batch: Batch, here: Here) -> npt.NDArray[np.float64]:
        torch = self._torch

        def tensor(array: npt.NDArray[Any]) -> Any:
            return _tensor(torch, array)

        weights = tensor(here.weights).requires_grad_()
        dense = tensor(batch.dense)
        logits = tensor(here.offset) + weights[0] + dense @ weights[1 : 1 + dense.shape[1]]
        logits = logits + weights[tensor(here.places)].sum(1)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            logits - self._log_rate,
            tensor(batch.labels),
            _weights(batch, torch.sigmoid(logits.detach()), tensor),
            reduction="sum",
        )
        loss.backward()
        return np.array(weights.grad.tolist(), np.float64)
