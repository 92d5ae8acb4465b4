"""What is secret, by its name, and how it is kept out of texts that others may read."""

from __future__ import annotations

import os
import re

_NAMES = re.compile(
    r"SECRET|TOKEN|PASSW|CREDENTIAL|PRIVATE|API_?KEY|ACCESS_?KEY|AUTH_?KEY|_KEY$|^KEY$"
)
_HARMLESS = re.compile(r"_(PATH|FILE|URL|URI|DIR)$")
_SHORTEST = 6  # characters; anything shorter stands in texts by chance


def is_secret(name: str) -> bool:
    """Whether a variable called like this holds a secret.

    >>> [is_secret(name) for name in ("AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN_PATH", "HOME")]
    [True, False, False]
    """
    return bool(_NAMES.search(name.upper())) and not _HARMLESS.search(name.upper())


def mask(text: str) -> str:
    """The text with the value of every secret variable of this process replaced by its name.

    >>> os.environ["DEMO_TOKEN"] = "hunter22"
    >>> mask("401 for hunter22")
    '401 for <DEMO_TOKEN>'
    """
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and value in text and is_secret(name):
            text = text.replace(value, f"<{name}>")
    return text
