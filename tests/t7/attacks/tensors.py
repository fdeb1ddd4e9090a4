"""Tensors: sizes, strides and offsets that lead out of their storage, or make little look huge."""

from __future__ import annotations

from t7.attacks.attack import BIG, Attack, field
from t7.handwritten import NIL, integer, number, storage, table, tensor, torch

ATTACKS = {
    "negative dimensions": Attack(torch(1, "torch.FloatTensor", integer(-1) + bytes(64)), "a tensor has -1 dimensions"),
    "many dimensions": Attack(torch(1, "torch.FloatTensor", integer(BIG)), "Limits.dimensions = 32"),
    "33 dimensions": Attack(tensor(1, (1,) * 33, (1,) * 33, 1, storage(2, 1.0)), "a tensor has 33 dimensions"),
    "negative size": Attack(tensor(1, (-2,), (1,), 1, storage(2, 1.0)), "the negative size (-2,)"),
    "two negative sizes": Attack(tensor(1, (-2, -2), (1, 1), 1, storage(2, 1.0)), "the negative size"),
    "size beyond the storage": Attack(
        field("weight", tensor(4, (3,), (1,), 1, storage(5, 1.0, 2.0))),
        "reaches from element 1 to 3 of a storage that has 2",
        path="[1].weight",
    ),
    "offset 0": Attack(tensor(1, (1,), (1,), 0, storage(2, 1.0)), "reaches from element 0 to 0"),
    "offset beyond the storage": Attack(tensor(1, (1,), (1,), 3, storage(2, 1.0)), "element 3 to 3"),
    "stride beyond the storage": Attack(tensor(1, (2,), (2**62,), 1, storage(2, 1.0)), "reaches from element 1 to"),
    "stride below the storage": Attack(tensor(1, (2,), (-1,), 1, storage(2, 1.0)), "reaches from element 0 to 1"),
    "strides that cancel out": Attack(tensor(1, (2, 2), (-1, 1), 1, storage(2, 1.0, 2.0)), "from element 0 to 2"),
    "product that wraps around": Attack(
        tensor(1, (2**32, 2**32), (0, 0), 1, storage(2, 1.0)), "Limits.elements = 17179869184"
    ),
    "expanded beyond measure": Attack(tensor(1, (2**33,), (0,), 1, storage(2, 1.0)), "Limits.expanded_elements"),
    "tensor without storage": Attack(tensor(1, (1,), (1,), 1, NIL), "to 1 of a storage that has 0"),
    "storage of another type": Attack(
        tensor(1, (1,), (1,), 1, storage(2, 1.0), kind="Float"), "a torch.DoubleStorage, not a torch.FloatStorage"
    ),
    "storage that is a table": Attack(tensor(1, (1,), (1,), 1, table(2)), "the storage of a tensor is not a Torch"),
    "storage that is an object": Attack(tensor(1, (1,), (1,), 1, torch(2, "A", table(3))), "a tensor is a A"),
    "storage that is the tensor": Attack(tensor(1, (1,), (1,), 1, integer(4, 1)), "a tensor is a torch.DoubleTensor"),
    "empty, but too large for any machine": Attack(
        tensor(1, (0, 2**62, 2**62), (1, 1, 1), 1, NIL), "more than 64 bits hold"
    ),
    "many views of one element": Attack(
        table(
            1, *(x for i in range(80) for x in (number(i), tensor(2 * i + 2, (2**28,), (0,), 1, storage(2 * i + 3, 1))))
        ),
        "Limits.expanded_elements",
    ),
    "lowest long as stride": Attack(tensor(1, (2,), (-(2**63),), 1, storage(2, 1.0)), "reaches from element -9"),
    "lowest long as offset": Attack(tensor(1, (1,), (1,), -(2**63), storage(2, 1.0)), "reaches from element -9"),
}
