"""What the search of digits.py gained: its best configuration beside the default one.

The test images had no part in the search, so the accuracy on them is the one to expect.
"""

from digits import settings, space, train
from mlp import accuracy, digits

import raysearch as rs

best = rs.Study.load(settings["study"]).best
images, valid, test = digits()

print("\naccuracy        validation    test    configuration")
for name, config in {"default": space.default, f"best (#{best.number})": best.config}.items():
    model = train(config, images)
    values = ", ".join(f"{key}={value:.3g}" for key, value in config.items())
    print(f"{name:14} {accuracy(model, valid):11.1%} {accuracy(model, test):7.1%}    {values}")

print(
    f"""
The study lies in {settings["study"]}. What to type next:
  source .venv/bin/activate
  raysearch best {settings["study"]}
  raysearch show {settings["study"]} {best.number}
  raysearch run examples/digits.py --trials 128       goes on where the study left off"""
)
