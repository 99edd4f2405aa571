"""A logistic head in PyTorch, as an example of one and for use as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .trainer import Batch

_SPARSE = 1 << 32


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
        """Through the buffer, so that any release of numpy goes with any of PyTorch."""
        kind = {"f": self._torch.float32, "i": self._torch.int64}[array.dtype.kind]
        if array.size == 0:
            return self._torch.zeros(array.shape, dtype=kind)
        return self._torch.frombuffer(bytearray(array.tobytes()), dtype=kind).reshape(array.shape)

    def _logits(self, batch: Batch) -> Any:
        dense = self._tensor(np.ascontiguousarray(batch.dense, np.float32))
        places = self._tensor((batch.sparse - np.uint64(_SPARSE)).astype(np.int64))
        return self._fixed[0] + dense @ self._fixed[1:] + self._table(places).sum(dim=(1, 2))

    def learn(self, batch: Batch) -> None:
        torch = self._torch
        labels, weights = (self._tensor(one.astype(np.float32)) for one in (batch.labels, batch.weights))
        is_fnw = self._tensor(batch.is_fnw.astype(np.float32))
        for _ in range(self._epochs):
            logits = self._logits(batch)
            p = torch.sigmoid(logits.detach())
            fnw = labels * (1 + p) + (1 - labels) * (1 - p * p)
            weight = weights * (is_fnw * fnw + (1 - is_fnw))
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
