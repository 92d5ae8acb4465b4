"""The optimizer core: update rules, schedules and transforms for training loops."""

from .plateau import ReduceOnPlateau
from .rules_adam import AdaBelief, Adam, Adamax, AdamW, NAdam, RAdam
from .rules_adaptive import Adadelta, Adagrad, RMSProp, Rprop
from .rules_base import Rule, State
from .rules_free import Prodigy, ScheduleFree, averaged
from .rules_layerwise import LAMB, LARS, Adafactor
from .rules_matrix import SOAP, Muon
from .rules_momentum import SGD, Lion
from .schedule import Schedule
from .schedules import (
    SCHEDULES,
    Chained,
    Constant,
    Cosine,
    CosineRestarts,
    Cyclic,
    Exponential,
    InverseSqrt,
    InverseTime,
    Joined,
    Linear,
    MultiStep,
    OneCycle,
    Polynomial,
    Step,
    Warmup,
    WarmupStableDecay,
)
from .transforms import (
    Accumulate,
    Average,
    Bounds,
    Chain,
    ClipByNorm,
    ClipByValue,
    Finite,
    Lookahead,
    Transform,
    chain,
)

#: every update rule, by name
RULES: dict[str, type[Rule]] = {
    rule.__name__: rule
    for rule in (
        SGD, Adagrad, RMSProp, Adadelta, Rprop,
        Adam, AdamW, Adamax, NAdam, RAdam, AdaBelief, Lion,
        LARS, LAMB, Adafactor, Muon, SOAP, Prodigy, ScheduleFree,
    )
}  # fmt: skip

__all__ = [
    "LAMB",
    "LARS",
    "RULES",
    "SCHEDULES",
    "SGD",
    "SOAP",
    "Accumulate",
    "AdaBelief",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Average",
    "Bounds",
    "Chain",
    "Chained",
    "ClipByNorm",
    "ClipByValue",
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Cyclic",
    "Exponential",
    "Finite",
    "InverseSqrt",
    "InverseTime",
    "Joined",
    "Linear",
    "Lion",
    "Lookahead",
    "MultiStep",
    "Muon",
    "NAdam",
    "OneCycle",
    "Polynomial",
    "Prodigy",
    "RAdam",
    "RMSProp",
    "ReduceOnPlateau",
    "Rprop",
    "Rule",
    "Schedule",
    "ScheduleFree",
    "State",
    "Step",
    "Transform",
    "Warmup",
    "WarmupStableDecay",
    "averaged",
    "chain",
]
