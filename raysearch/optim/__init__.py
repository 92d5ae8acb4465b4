"""The optimizer core: update rules, schedules and transforms for training loops; solvers
(`minimize`, `least_squares`) for whole problems; derivatives by differences.
"""

from .bounded import LBFGSB
from .conjugate_gradient import ConjugateGradient
from .derivatives import (
    check_gradient,
    check_jacobian,
    gradient,
    hessian,
    hessian_product,
    jacobian,
)
from .fused import get_num_threads, set_num_threads
from .gauss_newton import GaussNewton
from .hager_zhang import HagerZhang
from .least_squares import LEAST_SQUARES, least_squares
from .levenberg_marquardt import LevenbergMarquardt
from .line_search import Armijo, StrongWolfe
from .machine import Request, Solver
from .minimize import MINIMIZERS, minimize
from .newton import Newton, NewtonCG
from .plateau import ReduceOnPlateau
from .quasi_newton import BFGS, LBFGS
from .result import LeastSquaresResult, Result, Status
from .rules_adam import AdaBelief, Adam, Adamax, AdamW, NAdam, RAdam
from .rules_adaptive import Adadelta, Adagrad, RMSProp, Rprop
from .rules_base import Elementwise, Leafwise, Rule, State
from .rules_free import Prodigy, ScheduleFree, averaged
from .rules_layerwise import LAMB, LARS, Adafactor
from .rules_matrix import SOAP, Muon
from .rules_momentum import SGD, Lion
from .schedule import Rate, Schedule
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
from .trust_region import TrustNewton, TrustNewtonCG

#: every update rule, by name
RULES: dict[str, type[Rule]] = {
    rule.__name__: rule
    for rule in (
        SGD, Adagrad, RMSProp, Adadelta, Rprop,
        Adam, AdamW, Adamax, NAdam, RAdam, AdaBelief, Lion,
        LARS, LAMB, Adafactor, Muon, SOAP, Prodigy, ScheduleFree,
    )
}  # fmt: skip
#: those that move vectors; Muon moves matrices alone
VECTOR_RULES = {name: rule for name, rule in RULES.items() if rule is not Muon}

__all__ = [
    "BFGS",
    "LAMB",
    "LARS",
    "LBFGS",
    "LBFGSB",
    "LEAST_SQUARES",
    "MINIMIZERS",
    "RULES",
    "SCHEDULES",
    "SGD",
    "SOAP",
    "VECTOR_RULES",
    "Accumulate",
    "AdaBelief",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Armijo",
    "Average",
    "Bounds",
    "Chain",
    "Chained",
    "ClipByNorm",
    "ClipByValue",
    "ConjugateGradient",
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Cyclic",
    "Elementwise",
    "Exponential",
    "Finite",
    "GaussNewton",
    "HagerZhang",
    "InverseSqrt",
    "InverseTime",
    "Joined",
    "Leafwise",
    "LeastSquaresResult",
    "LevenbergMarquardt",
    "Linear",
    "Lion",
    "Lookahead",
    "MultiStep",
    "Muon",
    "NAdam",
    "Newton",
    "NewtonCG",
    "OneCycle",
    "Polynomial",
    "Prodigy",
    "RAdam",
    "RMSProp",
    "Rate",
    "ReduceOnPlateau",
    "Request",
    "Result",
    "Rprop",
    "Rule",
    "Schedule",
    "ScheduleFree",
    "Solver",
    "State",
    "Status",
    "Step",
    "StrongWolfe",
    "Transform",
    "TrustNewton",
    "TrustNewtonCG",
    "Warmup",
    "WarmupStableDecay",
    "averaged",
    "chain",
    "check_gradient",
    "check_jacobian",
    "get_num_threads",
    "gradient",
    "hessian",
    "hessian_product",
    "jacobian",
    "least_squares",
    "minimize",
    "set_num_threads",
]
