"""``python -m raysearch.cli``, where no script is installed."""

from . import main

main()
